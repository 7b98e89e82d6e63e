"""What others wrote is shown in the portal as they wrote it, and does nothing."""

import pytest

from deliveries.models import DeadLetter, Delivery
from deliveries.portal.urls import urlpatterns
from subscriptions.hidden_characters import HIDDEN
from subscriptions.models import EventType
from tests.config.test_hostile_content import HOSTILE, LINK, TURNED, Page
from tests.config.test_hostile_content import hostile as hostile
from tests.deliveries.conftest import make_delivery as make_delivery
from tests.deliveries.portal.conftest import Visitor
from tests.deliveries.portal.test_gate import walk

pytestmark = pytest.mark.django_db


def test_no_page_runs_any_of_it_or_hides_a_character(hostile: Delivery) -> None:
    visitor = Visitor(hostile.endpoint.subscriber)
    EventType.objects.update(group=HOSTILE[:60], example={"a": HOSTILE}, schema={"title": TURNED})
    keys = {"endpoints": hostile.endpoint_id, "deliveries": hostile.pk, "event-types": "made.once"}
    seen = 0
    for _, path in walk(urlpatterns):
        answer = visitor.get(path.replace("<str:key>", keys.get(path.partition("/")[0], "x")))
        if answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html"):
            page = Page(answer)
            assert page.could_run == [], path
            assert not HIDDEN.search(answer.content.decode()), path
            seen += page.says(LINK)
    assert seen > 8


def test_a_test_event_is_shown_so_as_well(hostile: Delivery) -> None:
    visitor = Visitor(hostile.endpoint.subscriber)
    page = Page(visitor.post(f"endpoints/{hostile.endpoint_id}/test-event/"))
    assert page.could_run == []
    assert page.says(LINK)


def test_why_something_was_given_up_shows_what_it_hides(hostile: Delivery) -> None:
    visitor = Visitor(hostile.endpoint.subscriber)
    assert DeadLetter.objects.get().last_error.endswith(TURNED)
    assert r"exe\u202egnp" in visitor.says(f"deliveries/{hostile.pk}/")
