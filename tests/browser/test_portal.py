"""The portal in a real browser: looks, keyboard, screen readers, with JavaScript and without."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from deliveries.emit import emit
from deliveries.models import Delivery
from subscriptions.models import Endpoint, HistoryEntry, Subscriber
from tests.browser.conftest import NARROW, NARROWEST, WIDE, MakePage, TakePicture
from tests.browser.portal import Portal, add_endpoint, fate, fill_catalogue, furnish
from tests.conftest import Configure
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)

OURS = "https://hooks.isfahan-carpets.example/webhooks"


@pytest.fixture
def portal(transactional_db: None, live_server: object) -> Portal:
    fill_catalogue()
    subscriber = Subscriber.objects.create(name="Isfahan Carpets")
    return Portal(live_server.url, subscriber)  # type: ignore[attr-defined]


@pytest.fixture
def furnished(portal: Portal) -> Portal:
    furnish(portal.subscriber)
    return portal


def pages() -> list[tuple[str, str]]:
    """Every page, under a name for its picture."""
    endpoint = Endpoint.objects.get(url=OURS)
    dead = Delivery.objects.filter(state="dead").earliest("pk")
    at = f"endpoints/{endpoint.pk}"
    subscription = endpoint.subscriptions.get(pattern="carpet.sold")
    return [
        ("endpoints", "endpoints/"),
        ("add", "endpoints/add/"),
        ("endpoint", f"{at}/"),
        ("settings", f"{at}/settings/"),
        ("secret", f"{at}/secret/"),
        ("test-event", f"{at}/test-event/"),
        ("delete", f"{at}/delete/"),
        ("subscription", f"subscriptions/{subscription.pk}/"),
        ("deliveries", "deliveries/"),
        ("delivery", f"deliveries/{dead.pk}/"),
        ("dead-letters", "dead-letters/"),
        ("replays", "replays/"),
        ("replay", f"{at}/replay/"),
        ("event-types", "event-types/"),
        ("event-type", "event-types/invoice.paid/"),
        ("missing", "endpoints/x/"),
    ]


def assert_no_faults(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, f"{page.url}\n{found.generate_report()}"


@pytest.mark.parametrize(
    ("size", "scheme"),
    [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light"), (NARROW, "dark"), (NARROWEST, "light")],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else value,
)
def test_no_page_has_a_fault_that_axe_finds_or_is_wider_than_the_screen(
    furnished: Portal,
    make_page: MakePage,
    take_picture: TakePicture,
    size: tuple[int, int],
    scheme: str,
) -> None:
    page = make_page(size=size, color_scheme=scheme)
    page.goto(furnished.link)
    assert_no_faults(page)
    furnished.enter(page)
    for name, path in pages():
        page.goto(furnished.url(path))
        page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
        take_picture(page, f"portal-{name}-{size[0]}-{scheme}")
        assert_no_faults(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path


def test_empty_pages_teach_and_have_no_fault_either(
    portal: Portal, page: Page, take_picture: TakePicture
) -> None:
    portal.enter(page)
    for path in ("endpoints/", "deliveries/", "dead-letters/", "replays/"):
        page.goto(portal.url(path))
        assert_no_faults(page)
        take_picture(page, f"portal-empty-{path.strip('/')}")
        expect(page.locator(".empty h2")).to_be_visible()


@pytest.mark.parametrize("with_javascript", [True, False])
def test_from_a_link_to_a_delivery_that_is_sent_again(
    portal: Portal, make_page: MakePage, receiver: Receiver, with_javascript: bool
) -> None:
    """The whole visit, with JavaScript and without."""
    page = make_page(java_script_enabled=with_javascript)
    portal.enter(page)
    page.get_by_role("link", name="Add your first endpoint").click()
    page.get_by_role("button", name="Add the endpoint").click()
    wrong = page.get_by_label("URL", exact=True)
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_have_accessible_description("This field is required.")
    wrong.fill(receiver.url())
    page.get_by_label("carpet.woven").check()
    page.get_by_role("button", name="Add the endpoint").click()
    expect(page.get_by_role("status").first).to_contain_text("The endpoint is added")

    page.get_by_role("link", name="Show or rotate").click()
    expect(page.locator(".secret")).to_have_count(0)
    page.get_by_role("button", name="Show it").click()
    expect(page.locator(".secret")).to_contain_text("whsec_")
    page.get_by_role("button", name="Rotate the secret").click()
    expect(page.get_by_role("status").first).to_contain_text("has a new signing secret")

    page.get_by_role("link", name=receiver.url()).click()
    page.get_by_role("link", name="Send a test event").click()
    page.get_by_role("button", name="Send a test event").click()
    expect(page.locator("#exchange")).to_contain_text("HTTP 200")
    assert len(receiver.received) == 1

    page.get_by_role("link", name=receiver.url()).click()
    page.get_by_role("link", name="Add a subscription").click()
    page.get_by_label("Pattern").fill("invoice.*")
    page.get_by_label("Filter").fill("amount > `1000`")
    page.get_by_text("On an example of your own").click()
    page.get_by_label("Event type").fill("invoice.paid")
    page.get_by_label("Event data").fill('{"amount": 1200}')
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#trials")).to_contain_text("The subscription asks for this event.")
    expect(page.get_by_label("Filter")).to_have_value("amount > `1000`")
    page.get_by_role("button", name="Subscribe").click()
    expect(page.get_by_role("status").first).to_contain_text("The subscription is added")

    event = emit("carpet.woven", {"carpet": "kashan-7", "knots": 640})
    fate(event.deliveries.get(), "dead", (503, "rejected"))
    page.get_by_role("link", name="Dead letters").click()
    page.get_by_role("button", name="Redrive what is chosen").click()
    expect(page.get_by_role("status").first).to_contain_text("on their way again")
    page.get_by_role("link", name="Deliveries", exact=True).click()
    page.get_by_label("State").select_option("pending")
    if not with_javascript:
        page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**state=pending**")
    page.get_by_role("link", name="carpet.woven").click()
    expect(page.locator(".attempts")).to_contain_text("answered 503")

    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You have left")
    page.goto(portal.url("endpoints/"))
    expect(page.get_by_role("heading", level=1)).to_have_text("You are not in")
    kinds = set(HistoryEntry.objects.filter(endpoint__gt="").values_list("actor_kind", flat=True))
    assert kinds == {"portal"}


def test_a_delivery_that_is_under_way_is_followed(portal: Portal, page: Page) -> None:
    add_endpoint(portal.subscriber, OURS, "*")
    delivery = emit("carpet.woven", {"carpet": "kashan-7", "knots": 640}).deliveries.get()
    portal.enter(page)
    page.goto(portal.url(f"deliveries/{delivery.pk}/"))
    expect(page.locator(".state").first).to_have_text("pending")
    fate(delivery, "delivered", (200, "delivered"))
    expect(page.locator(".state").first).to_have_text("delivered")
    expect(page.locator("#delivery")).not_to_have_attribute("hx-trigger", "every 3s")


def test_the_list_follows_its_filter_and_so_does_the_address(furnished: Portal, page: Page) -> None:
    furnished.enter(page)
    page.goto(furnished.url("deliveries/"))
    page.get_by_label("State").select_option("dead")
    expect(page.locator("#results tbody tr")).to_have_count(2)
    assert "state=dead" in page.url
    page.reload()
    expect(page.locator("#results tbody tr")).to_have_count(2)
    page.go_back()
    expect(page.locator("#results .state", has_text="delivered").first).to_be_visible()


def test_only_the_fields_of_the_authentication_that_is_chosen_are_shown(
    furnished: Portal, page: Page
) -> None:
    furnished.enter(page)
    page.goto(furnished.url("endpoints/add/"))
    page.get_by_text("Custom headers and authentication").click()
    expect(page.locator(".kind:visible")).to_have_count(0)
    page.get_by_label("Authentication").select_option("basic")
    expect(page.locator(".kind:visible")).to_have_count(1)
    expect(page.get_by_label("User")).to_be_visible()


def test_the_keyboard_reaches_all_and_shows_where_it_is(furnished: Portal, page: Page) -> None:
    furnished.enter(page)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    first = page.get_by_role("link", name="Add an endpoint")
    expect(first).to_be_focused()
    assert first.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    page.goto(furnished.url("endpoints/add/"))
    focusable = page.locator("main :is(a, button, input, select, textarea, summary):visible")
    page.locator("main").focus()
    for place in range(focusable.count()):
        page.keyboard.press("Tab")
        expect(focusable.nth(place)).to_be_focused()


def test_a_browser_keeps_nothing_of_a_page_that_may_show_a_secret(
    furnished: Portal, page: Page
) -> None:
    furnished.enter(page)
    endpoint = Endpoint.objects.get(url=OURS)
    page.goto(furnished.url(f"endpoints/{endpoint.pk}/secret/"))
    page.get_by_role("button", name="Show it").click()
    page.get_by_role("link", name="Deliveries", exact=True).click()
    page.get_by_label("State").select_option("dead")
    expect(page.locator("#results tbody tr")).to_have_count(2)
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}])"
    assert "whsec_" not in page.evaluate(kept)


@contextmanager
def application(page_of_it: str) -> Iterator[str]:
    """Somebody's application: one page on another site than the portal."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page_of_it.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_in_a_frame_of_an_application_that_may_have_it_everything_works(
    furnished: Portal, page: Page, configure: Configure, take_picture: TakePicture
) -> None:
    # Browsers take a Secure cookie from localhost without TLS, and 127.0.0.1 is another site.
    assert furnished.server.startswith("http://localhost:")
    frame = f'<iframe title="Webhooks" width=900 height=800 src="{furnished.link}"></iframe>'
    with application(f"<!doctype html><html lang=en><title>Ours</title>{frame}") as origin:
        configure(PORTAL_EMBED_ORIGINS=[origin], PORTAL_NAME="Hooks of ours")
        page.goto(origin)
        inside = page.frame_locator("iframe")
        inside.get_by_role("button", name="Come in").click()
        inside.get_by_role("link", name=OURS).click()
        inside.get_by_role("button", name="Pause").click()
        expect(inside.get_by_role("status").first).to_contain_text("The endpoint is paused")
        take_picture(page, "portal-embedded")
    assert Endpoint.objects.get(url=OURS).state == "paused"


def test_in_a_frame_of_anybody_else_nothing_is_shown(furnished: Portal, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    frame = f'<iframe title="Webhooks" src="{furnished.link}"></iframe>'
    with (
        application(f"<!doctype html><html lang=en><title>Ours</title>{frame}") as origin,
        page.expect_event("console", lambda said: "frame-ancestors" in said.text),
    ):
        page.goto(origin)
    context.close()
