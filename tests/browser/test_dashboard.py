"""The admin's first page in a real browser, which complains of whatever the CSP refuses."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect

from deliveries.models import DeadLetter, QueueSample
from subscriptions.models import Endpoint
from tests.browser.conftest import TakePicture
from tests.deliveries.dashboard.conftest import MakePast
from tests.deliveries.dashboard.conftest import endpoint as endpoint
from tests.deliveries.dashboard.conftest import make_past as make_past
from tests.seeding import seed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(transactional_db: None, live_server: object) -> str:
    User.objects.create_superuser("anahita", password="correct horse")
    return live_server.url  # type: ignore[attr-defined, no-any-return]


def open_dashboard(page: Page, server: str, query: str = "") -> None:
    page.goto(f"{server}/admin/login/?next=/admin/{query}")
    page.locator("#id_username").fill("anahita")
    page.locator("#id_password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".dashboard")).to_be_visible()


def test_a_figure_and_a_bar_lead_to_lists_with_as_many_rows(
    server: str, page: Page, make_past: MakePast
) -> None:
    for _ in range(3):
        make_past("delivered", ago=timedelta(minutes=4))
    make_past("waiting", ago=timedelta(minutes=9), failed=1, next_attempt_at=timezone.now())
    open_dashboard(page, server)
    waiting = page.locator(".figures a", has_text="Waiting")
    expect(waiting.locator("strong")).to_have_text("1")
    waiting.click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.go_back()
    page.locator("#chart-outcomes-drawing a", has_text="3 delivered").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(3)
    expect(page.locator(".pages")).to_contain_text("3 deliveries")


def test_it_looks_again_by_itself_and_keeps_the_place(
    server: str, page: Page, make_past: MakePast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deliveries.dashboard.page.EVERY", 1)
    make_past("delivered")
    open_dashboard(page, server)
    table = page.locator("#chart-outcomes-rows")
    page.get_by_text("As a table").first.click()
    expect(table).to_be_visible()
    make_past("delivered")
    made = page.locator("#dashboard-past a", has_text="Deliveries").locator("strong")
    expect(made).to_have_text("2")
    expect(table).to_be_visible()
    page.get_by_role("link", name="Pause").click()
    expect(page.get_by_role("link", name="Go on")).to_be_visible()


def test_a_long_list_leads_to_what_is_older_and_back(
    server: str, page: Page, take_picture: TakePicture
) -> None:
    seed(400, days=1)
    open_dashboard(page, server)
    page.goto(f"{server}/admin/deliveries/delivery/")
    newest = page.locator("#result_list tbody tr input.action-select").first
    key = newest.get_attribute("value")
    assert key
    take_picture(page, "admin-deliveries")
    page.get_by_role("link", name="Older").click()
    expect(newest).not_to_have_value(key)
    expect(page.locator("#result_list tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Newer").click()
    expect(newest).to_have_value(key)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_a_picture(
    server: str, make_page: object, take_picture: TakePicture, scheme: str
) -> None:
    seed(3_000, days=2 / 24)
    seed(900, days=0.5 / 24)
    ill = Endpoint.objects.filter(deliveries__state="dead").first()
    assert ill is not None
    now = timezone.now()
    Endpoint.objects.filter(pk=ill.pk).update(
        circuit="open", circuit_opened_at=now, openings=1, probe_at=now, failing_since=now
    )
    assert DeadLetter.objects.filter(resolution="").exists()
    QueueSample.objects.bulk_create(
        QueueSample(
            minute=now.replace(second=0, microsecond=0) - timedelta(minutes=ago),
            messages=max(0, 40 - abs(20 - ago) * 4),
            pending=max(0, 60 - abs(20 - ago) * 5),
            overdue=max(0, 90 - abs(19 - ago) * 12),
        )
        for ago in range(60)
    )
    page: Page = make_page(color_scheme=scheme)  # type: ignore[operator]
    open_dashboard(page, server)
    expect(page.locator("#dashboard-worst tbody tr").first).to_be_visible()
    take_picture(page, "admin-dashboard" if scheme == "light" else f"admin-dashboard-{scheme}")
