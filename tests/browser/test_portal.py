"""The portal in a real browser: looks, keyboard, screen readers, with JavaScript and without."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from deliveries.models import Delivery
from subscriptions.models import Endpoint, Subscriber
from tests.browser.conftest import NARROW, NARROWEST, WIDE, MakePage, TakePicture
from tests.browser.portal import Portal, fill_catalogue, furnish

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def portal(transactional_db: None, live_server: object) -> Portal:
    fill_catalogue()
    subscriber = Subscriber.objects.create(name="Isfahan Carpets")
    return Portal(live_server.url, subscriber)  # type: ignore[attr-defined]


@pytest.fixture
def furnished(portal: Portal) -> Portal:
    furnish(portal.subscriber)
    return portal


def paths() -> list[tuple[str, str]]:
    """Every page, under a name for its picture."""
    endpoint = Endpoint.objects.get(description="The books")
    dead = Delivery.objects.filter(state="dead").first()
    assert dead is not None
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
        ("subscribe", f"{at}/subscribe/"),
        ("subscription", f"subscriptions/{subscription.pk}/"),
        ("deliveries", "deliveries/"),
        ("delivery", f"deliveries/{dead.pk}/"),
        ("dead-letters", "dead-letters/"),
        ("event-types", "event-types/"),
        ("event-type", "event-types/invoice.paid/"),
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW, NARROWEST], ids=lambda size: str(size[0]))
def test_no_page_has_a_fault_that_axe_finds_or_is_wider_than_the_screen(
    furnished: Portal,
    make_page: MakePage,
    take_picture: TakePicture,
    size: tuple[int, int],
    scheme: str,
) -> None:
    page = make_page(size=size, color_scheme=scheme)
    page.goto(furnished.link)
    for name, path in paths():
        page.goto(furnished.url(path))
        take_picture(page, f"portal-{name}-{size[0]}-{scheme}")
        faults = Axe().run(page)
        assert faults.violations_count == 0, f"{path}\n{faults.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path
