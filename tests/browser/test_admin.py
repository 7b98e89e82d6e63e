"""The admin in a real browser: every page of it, without a complaint."""

from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page

from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from subscriptions.models import ApiKey, Endpoint, Subscriber
from tests.browser.conftest import TakePicture
from tests.browser.portal import fate, fill_catalogue, furnish

pytestmark = pytest.mark.django_db(transaction=True)

ILL = "https://loom.isfahan-carpets.example/events/incoming"
ORDER = {
    "carpet": "kashan-7",
    "knots": 640,
    "lines": [{"sku": "wool", "price": 12.5, "dyed": True}],
    "note": "<script>alert(1)</script>",
}


@pytest.fixture
def server(transactional_db: None, live_server: object) -> str:
    """With something on every page: deliveries of every fate, and a month of attempts."""
    fill_catalogue()
    furnish(Subscriber.objects.create(name="Isfahan Carpets"))
    ApiKey.objects.create_key(name="billing", scopes=["emit"])
    User.objects.create_superuser("anahita", password="correct horse")
    ill = Endpoint.objects.get(url=ILL)
    delivery = emit("carpet.woven", ORDER).deliveries.get(endpoint=ill)
    fate(delivery, "dead", (503, "rejected"), (None, "timed_out"), (503, "rejected"))
    Attempt.objects.filter(delivery=delivery).update(
        dns_ms=4, connect_ms=11, tls_ms=23, first_byte_ms=38
    )
    fare(emit("carpet.woven", ORDER).deliveries.get(endpoint=ill))
    ill.pause()
    ill.resume()
    return live_server.url  # type: ignore[attr-defined, no-any-return]


def fare(delivery: Delivery) -> None:
    """Attempts in each of the last hours, more and slower towards the day's end, some failed."""
    now = timezone.now()
    for number in range(200):
        hours = number // 4 if number < 100 else (number - 75) * 5
        failed = number % (3 if 40 < number < 60 else 9) == 0
        Attempt.objects.create(
            delivery=delivery,
            number=1 + number,
            outcome="rejected" if failed else "delivered",
            status=503 if failed else 200,
            duration_ms=60 + number % 24 * 15,
            ended_at=now - timedelta(hours=hours),
        )


def log_in(page: Page, server: str) -> None:
    page.goto(f"{server}/admin/")
    page.locator("#id_username").fill("anahita")
    page.locator("#id_password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{server}/admin/")
    page.on("response", lambda r: print("BAD", r.status, r.url) if r.status >= 400 else None)


def pages() -> list[str]:
    """Every list and form, and the pages of one row of each kind."""
    found = [reverse("admin:index")]
    for model_admin in admin.site._registry.values():
        name = f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}"
        found.append(reverse(f"{name}_changelist"))
        for row in model_admin.model._default_manager.all()[:1]:
            of_row = ("change", "history")
            found += [reverse(f"{name}_{page}", args=[quote(row.pk)]) for page in of_row]
    return found


def test_walk(server: str, page: Page, take_picture: TakePicture) -> None:
    log_in(page, server)
    for number, path in enumerate(pages()):
        page.goto(server + path)
        page.wait_for_timeout(100)
        take_picture(page, f"walk-{number}-{path.strip('/').replace('/', '-')[:40]}")
    ill = Endpoint.objects.get(url=ILL)
    delivery = Delivery.objects.filter(event__type="carpet.woven", state="dead").order_by("-pk")[0]
    for name, path in [
        ("endpoint", reverse("admin:subscriptions_endpoint_change", args=[quote(ill.pk)])),
        ("delivery", reverse("admin:deliveries_delivery_change", args=[quote(delivery.pk)])),
        (
            "explain",
            reverse("admin:deliveries_event_explain", args=[quote(delivery.event_id)])
            + f"?endpoint={ill.pk}",
        ),
        ("test", reverse("admin:subscriptions_endpoint_test", args=[quote(ill.pk)])),
        ("start", reverse("admin:deliveries_replay_start", args=[quote(ill.pk)])),
        ("import", reverse("admin:subscriptions_eventtype_import")),
        ("addep", reverse("admin:subscriptions_endpoint_add")),
        ("addtask", reverse("admin:django_celery_beat_periodictask_add")),
        ("adduser", reverse("admin:auth_user_add")),
        ("addkey", reverse("admin:subscriptions_apikey_add")),
    ]:
        page.goto(server + path)
        page.wait_for_timeout(100)
        take_picture(page, f"x-{name}")
        found = Axe().run(page)
        print(name, found.generate_report() if [v for v in found.response["violations"] if v["impact"] in ("serious","critical")] else "no faults")
