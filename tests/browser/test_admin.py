"""The admin in a real browser: every page of it, without a complaint."""

from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from subscriptions.models import ApiKey, Endpoint, Subscriber
from tests.browser.conftest import MakePage, TakePicture
from tests.browser.portal import fate, fill_catalogue, furnish

pytestmark = pytest.mark.django_db(transaction=True)

TALL = (1280, 2400)
"""What sticks to the lower edge of the window is out of the picture's way."""

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
    """Attempts in each hour of a day, and on each day of some weeks; some failed or were slow."""
    now = timezone.now()
    for number in range(200):
        hours = number // 4 if number < 96 else (number - 90) * 6
        failed = number % (2 if 40 < number < 60 else 9) == 0
        Attempt.objects.create(
            delivery=delivery,
            number=1 + number,
            outcome="rejected" if failed else "delivered",
            status=503 if failed else 200,
            duration_ms=60 + abs(number % 24 - 12) * 15,
            ended_at=now - timedelta(hours=hours),
        )


def log_in(page: Page, server: str) -> None:
    page.goto(f"{server}/admin/")
    page.locator("#id_username").fill("anahita")
    page.locator("#id_password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{server}/admin/")


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


def of(row: object, page: str = "change") -> str:
    meta = row._meta  # type: ignore[attr-defined]
    name = f"admin:{meta.app_label}_{meta.model_name}_{page}"
    return reverse(name, args=[quote(row.pk)])  # type: ignore[attr-defined]


@pytest.fixture
def ill(server: str) -> Endpoint:
    return Endpoint.objects.get(url=ILL)


@pytest.fixture
def dead(ill: Endpoint) -> Delivery:
    """The newest that is dead."""
    return Delivery.objects.filter(endpoint=ill, state="dead").latest("pk")


def assert_no_serious_faults(page: Page) -> None:
    found = Axe().run(page)
    impacts = {fault["impact"] for fault in found.response["violations"]}
    assert not impacts & {"serious", "critical"}, f"{page.url}\n{found.generate_report()}"


def test_every_page_opens_and_the_browser_has_nothing_to_complain_of(
    server: str, page: Page
) -> None:
    log_in(page, server)
    for path in pages():
        answer = page.goto(server + path)
        assert answer is not None
        assert answer.status == 200, path
        # Alpine takes the cloak off once it has read the whole page.
        expect(page.locator("html[x-cloak]"), path).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_main_pages_have_no_serious_fault_that_axe_finds(
    server: str,
    ill: Endpoint,
    dead: Delivery,
    make_page: MakePage,
    take_picture: TakePicture,
    scheme: str,
) -> None:
    page = make_page(size=TALL, color_scheme=scheme)
    log_in(page, server)
    explain = reverse("admin:deliveries_event_explain", args=[quote(dead.event_id)])
    for name, path in [
        ("dashboard", reverse("admin:index")),
        ("deliveries", reverse("admin:deliveries_delivery_changelist")),
        ("dead-letters", reverse("admin:deliveries_deadletter_changelist")),
        ("endpoints", reverse("admin:subscriptions_endpoint_changelist")),
        ("delivery", of(dead)),
        ("event", of(dead.event)),
        ("endpoint", of(ill)),
        ("explain", f"{explain}?endpoint={ill.pk}"),
        ("test-event", of(ill, "test")),
        ("replay", reverse("admin:deliveries_replay_start", args=[quote(ill.pk)])),
        ("history", of(ill, "history")),
        ("new-endpoint", reverse("admin:subscriptions_endpoint_add")),
        ("new-key", reverse("admin:subscriptions_apikey_add")),
    ]:
        page.goto(server + path)
        take_picture(page, f"admin-{name}" + ("" if scheme == "light" else "-dark"))
        assert_no_serious_faults(page)


def test_from_a_list_to_what_is_redriven_after_a_page_that_says_how_many(
    server: str, page: Page, take_picture: TakePicture
) -> None:
    log_in(page, server)
    page.locator("#nav-sidebar").get_by_role("link", name="Deliveries").click()
    page.get_by_text("Filters").click()
    page.get_by_role("link", name="Dead", exact=True).click()
    page.wait_for_url("**state=dead")
    count = Delivery.objects.filter(state="dead").count()
    expect(page.locator("#result_list tbody tr")).to_have_count(count)
    page.locator("#result_list thead input[type=checkbox]").check()
    page.locator("select[name=action]").select_option("redrive")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".panel h2")).to_have_text(f"{count} deliveries will be redriven.")
    take_picture(page, "admin-confirmation")
    assert_no_serious_faults(page)
    assert Delivery.objects.filter(state="dead").count() == count
    page.get_by_role("button", name=f"Redrive what is dead: {count} deliveries").click()
    expect(page.get_by_text(f"{count} of {count} deliveries redriven.")).to_be_visible()
    assert not Delivery.objects.filter(state="dead").exists()


@pytest.mark.parametrize("with_javascript", [True, False])
def test_an_attempts_request_is_beside_its_response_and_json_folds(
    server: str, dead: Delivery, make_page: MakePage, with_javascript: bool
) -> None:
    page = make_page(java_script_enabled=with_javascript)
    log_in(page, server)
    page.goto(server + of(dead))
    newest = page.locator(".exchanges > details").first
    request, response = (newest.get_by_role("heading", name=n) for n in ("Request", "Response"))
    left, right = request.bounding_box(), response.bounding_box()
    assert left is not None
    assert right is not None
    assert left["y"] == right["y"]
    assert left["x"] < right["x"]
    expect(newest).to_contain_text("DNS 4 ms")
    expect(newest).to_contain_text("first byte 38 ms")
    sku = newest.get_by_text('"wool"')
    expect(sku).to_be_hidden()
    for _ in ("lines", "the first of them"):
        newest.locator(".json details:not([open]) > summary").first.click()
    expect(sku).to_be_visible()
    newest.get_by_text("Body", exact=True).click()
    expect(sku).to_be_hidden()
    expect(page.locator("main script, .json script")).to_have_count(0)


def test_an_endpoints_page_draws_how_it_fared_and_says_it_in_numbers(
    server: str, ill: Endpoint, page: Page
) -> None:
    log_in(page, server)
    page.goto(server + of(ill))
    by_hour = page.locator("figure").filter(has_text="Attempts by the hour")
    expect(by_hour.get_by_role("group", name="Attempts by the hour")).to_be_visible()
    day_ago = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    attempts = Attempt.objects.filter(delivery__endpoint=ill, ended_at__gte=day_ago)
    expect(by_hour.locator(".chart-note")).to_contain_text(f"{attempts.count()} attempts")
    by_hour.get_by_text("As a table").click()
    expect(by_hour.locator("tbody tr")).to_have_count(24)
    paused = by_hour.locator(".chart-mark title").filter(has_text="paused, by Angarium")
    expect(paused).to_have_count(1)
    page.get_by_text("What was done to it").click()
    expect(page.get_by_text("By Angarium.").first).to_be_visible()


def test_what_unfold_moves_by_scripts_moves_without_eval(server: str, page: Page) -> None:
    log_in(page, server)
    sidebar = page.locator("#nav-sidebar")
    page.get_by_text("dock_to_right").first.click()
    expect(sidebar).to_be_hidden()
    page.reload()
    expect(sidebar).to_be_hidden()
    page.get_by_text("dock_to_right").first.click()
    expect(sidebar).to_be_visible()
    page.get_by_text("anahita").click()
    expect(page.get_by_role("link", name="Change password")).to_be_visible()
    page.keyboard.press("Control+k")
    page.locator("#search-input-command").press_sequentially("dead")
    expect(page.locator("#command-results")).to_contain_text("Dead letters")
    for key in ("ArrowDown", "Enter"):
        page.locator("#search-input-command").press(key)
    page.wait_for_url("**/deliveries/deadletter/")
