import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction

from deliveries import feed, operations, sweeps
from deliveries.emit import emit
from deliveries.feed import EventsDropped, InvalidCursor, Page
from deliveries.models import DeadLetter, Delivery, Event
from deliveries.pipeline import claim
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint, Feed, Subscriber, Subscription
from tests.conftest import Configure, Queue
from webhooks.payloads import envelope

pytestmark = pytest.mark.django_db


@pytest.fixture
def endpoint(subscriber: Subscriber) -> Endpoint:
    endpoint = Feed.objects.open(subscriber)
    Subscription.objects.create(endpoint=endpoint, pattern="invoice.*")
    return endpoint


def fetch(endpoint: Endpoint, cursor: str | None = None, limit: int = 50) -> Page:
    return feed.read(endpoint.pk, cursor=cursor, limit=limit)


def ids(page: Page) -> list[str]:
    return [json.loads(item)["id"] for item in page.items]


def everything(endpoint: Endpoint, cursor: str | None = None, limit: int = 50) -> list[str]:
    """The ids on all pages from the cursor on."""
    found: list[str] = []
    while True:
        page = fetch(endpoint, cursor, limit)
        found += ids(page)
        cursor = page.cursor
        if not page.has_more:
            return found


def emitted(count: int) -> list[str]:
    return [emit("invoice.paid", {"n": n}).pk for n in range(count)]


def in_another_thread(work: Callable[[], Any]) -> Any:
    """What comes of some work on a database connection of its own."""

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result(30)


def test_a_feed_has_the_events_that_it_asked_for_as_they_would_be_posted(
    endpoint: Endpoint,
) -> None:
    at = datetime(2026, 7, 1, 12, tzinfo=UTC)
    data = {"city": "Kāshān", "rate": 1.10, "odd": "\0\u2028"}
    event = emit("invoice.paid", data, occurred_at=at)
    emit("order.shipped", {})
    [item] = fetch(endpoint).items
    posted = envelope("invoice.paid", at, event.payload).decode()
    assert item == f'{{"id":"{event.pk}",{posted[1:]}'


def test_an_event_of_another_subscriber_is_not_in_the_feed(endpoint: Endpoint) -> None:
    emit("invoice.paid", {}, subscriber=Subscriber.objects.create(name="Croesus"))
    own = emit("invoice.paid", {}, subscriber=endpoint.subscriber)
    assert everything(endpoint) == [own.pk]


@pytest.mark.parametrize("limit", [1, 2, 5, 50])
def test_pages_follow_each_other_without_a_gap_or_a_double(endpoint: Endpoint, limit: int) -> None:
    events = emitted(5)
    assert everything(endpoint, limit=limit) == events


def test_more_is_told_of_exactly_while_there_is_more(endpoint: Endpoint) -> None:
    emitted(2)
    first = fetch(endpoint, limit=1)
    second = fetch(endpoint, first.cursor, limit=1)
    assert (first.has_more, second.has_more) == (True, False)


def test_whoever_asks_twice_gets_the_same_twice(endpoint: Endpoint) -> None:
    emitted(3)
    start = fetch(endpoint, limit=1)
    assert fetch(endpoint, start.cursor, limit=1) == fetch(endpoint, start.cursor, limit=1)
    assert ids(fetch(endpoint)) == ids(start) + ids(fetch(endpoint, start.cursor))


def test_a_cursor_at_the_end_leads_to_what_comes_later(endpoint: Endpoint) -> None:
    start = fetch(endpoint)
    assert (start.items, start.has_more) == ([], False)
    events = emitted(2)
    page = fetch(endpoint, start.cursor)
    assert ids(page) == events
    assert fetch(endpoint, page.cursor) == Page([], page.cursor, has_more=False)


def test_what_is_fetched_is_delivered_and_what_is_not_is_held(endpoint: Endpoint) -> None:
    first, second, third = emitted(3)
    fetch(endpoint, limit=1)
    # One more was looked at, to tell whether there is more.
    fetched = dict(Delivery.objects.values_list("event", "state"))
    assert fetched == {first: "delivered", second: "delivered", third: "held"}
    delivery = Delivery.objects.get(event=first)
    assert delivery.ended_at is not None
    assert delivery.attempt_number == 0


def test_a_page_ends_once_it_has_many_bytes(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MAX_PAGE_BYTES", 250)
    events = [emit("invoice.paid", {"n": "x" * size}).pk for size in (100, 100, 100, 1000, 1)]
    pages = [fetch(endpoint)]
    while pages[-1].has_more:
        pages.append(fetch(endpoint, pages[-1].cursor))
    assert [ids(page) for page in pages] == [events[:3], events[3:4], events[4:]]


@pytest.mark.django_db(transaction=True)
class TestTransactionsAtTheSameTime:
    def test_what_commits_late_comes_after_what_was_fetched_and_is_not_left_out(
        self, endpoint: Endpoint
    ) -> None:
        """The first event is made, and written, before the second; it is committed after it."""
        written, fetched = threading.Event(), threading.Event()

        def slow() -> str:
            with transaction.atomic():
                event = emit("invoice.paid", {"n": "early, but slow"})
                written.set()
                assert fetched.wait(30)
            connection.close()
            return event.pk

        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(slow)
            assert written.wait(30)
            quick = emit("invoice.paid", {"n": "late, but quick"})
            first = fetch(endpoint)
            fetched.set()
            early = late.result(30)
        assert early < quick.pk
        assert Event.objects.count() == 2
        assert ids(first) == [quick.pk]
        assert ids(fetch(endpoint, first.cursor)) == [early]
        assert everything(endpoint) == [quick.pk, early]

    def test_an_emit_that_is_under_way_does_not_keep_a_reader_waiting(
        self, endpoint: Endpoint
    ) -> None:
        [event] = emitted(1)
        with transaction.atomic():
            emit("invoice.paid", {})
            assert in_another_thread(lambda: ids(fetch(endpoint))) == [event]

    def test_readers_at_once_see_one_order(self, endpoint: Endpoint) -> None:
        events = emitted(40)

        def all_of_it(limit: int) -> list[str]:
            try:
                return everything(endpoint, limit=limit)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            orders = list(pool.map(all_of_it, [1, 3, 7, 50]))
        assert orders == [events] * 4

    def test_of_many_that_emit_while_one_reads_none_is_left_out(self, endpoint: Endpoint) -> None:
        stop = threading.Event()

        def producer(number: int) -> list[str]:
            made = []
            for n in range(15):
                with transaction.atomic():
                    made.append(emit("invoice.paid", {"by": number}).pk)
                    if n % 3 == number % 3:
                        made.append(emit("invoice.voided", {"by": number}).pk)
            connection.close()
            return made

        def reader() -> list[str]:
            seen: list[str] = []
            cursor, last_look = None, False
            while True:
                page = fetch(endpoint, cursor, limit=4)
                seen += ids(page)
                cursor = page.cursor
                if not page.has_more:
                    if last_look:
                        connection.close()
                        return seen
                    last_look = stop.is_set()

        with ThreadPoolExecutor(5) as pool:
            reading = pool.submit(reader)
            made = [pk for events in pool.map(producer, range(4)) for pk in events]
            stop.set()
            seen = reading.result(60)
        assert sorted(seen) == sorted(made)
        assert everything(endpoint) == seen


class TestCursors:
    @pytest.mark.parametrize(
        "cursor", ["", "x", "0", "é", "=" * 32, "A" * 31, "A" * 32, "A" * 36, "\0", "A" * 10_000]
    )
    def test_what_is_no_cursor_is_refused(self, endpoint: Endpoint, cursor: str) -> None:
        emitted(1)
        with pytest.raises(InvalidCursor, match="leave it out"):
            fetch(endpoint, cursor)

    def test_one_of_another_feed_is_refused(self, endpoint: Endpoint) -> None:
        other = Feed.objects.open(Subscriber.objects.create(name="Croesus"))
        with pytest.raises(InvalidCursor):
            fetch(endpoint, fetch(other).cursor)

    def test_one_that_nobody_was_given_is_refused(self, endpoint: Endpoint) -> None:
        cursor = fetch(endpoint).cursor
        with pytest.raises(InvalidCursor):
            fetch(endpoint, cursor[:-1] + "B")


class TestWhatIsDropped:
    """Events past their retention go; a reader who has missed some is told so."""

    def drop(self, *events: str) -> None:
        Event.objects.filter(pk__in=events).delete()

    def test_a_cursor_before_them_is_told_and_led_on(self, endpoint: Endpoint) -> None:
        events = emitted(4)
        page = fetch(endpoint, limit=1)
        everything(endpoint)
        self.drop(*events[:3])
        with pytest.raises(EventsDropped) as dropped:
            fetch(endpoint, page.cursor)
        assert everything(endpoint, dropped.value.cursor) == events[3:]

    def test_so_is_one_where_all_are_gone(self, endpoint: Endpoint) -> None:
        events = emitted(2)
        page = fetch(endpoint, limit=1)
        everything(endpoint)
        self.drop(*events)
        with pytest.raises(EventsDropped) as dropped:
            fetch(endpoint, page.cursor)
        later = emitted(1)
        assert everything(endpoint, dropped.value.cursor) == later

    def test_a_cursor_behind_them_goes_on(self, endpoint: Endpoint) -> None:
        events = emitted(3)
        page = fetch(endpoint, limit=2)
        everything(endpoint)
        self.drop(*events[:2])
        assert everything(endpoint, page.cursor) == events[2:]

    def test_those_in_the_middle_are_not_passed_over(self, endpoint: Endpoint) -> None:
        events = emitted(5)
        everything(endpoint)
        self.drop(events[2])
        page = fetch(endpoint)
        assert (ids(page), page.has_more) == (events[:2], True)
        with pytest.raises(EventsDropped) as dropped:
            fetch(endpoint, page.cursor)
        assert everything(endpoint, dropped.value.cursor) == events[3:]

    def test_no_position_is_given_out_twice(self, endpoint: Endpoint) -> None:
        events = emitted(3)
        cursor = fetch(endpoint).cursor
        self.drop(*events)
        later = emitted(1)
        assert everything(endpoint, cursor) == later

    def test_without_a_cursor_one_begins_with_the_oldest_there_is(self, endpoint: Endpoint) -> None:
        events = emitted(3)
        everything(endpoint)
        self.drop(events[0])
        assert everything(endpoint) == events[1:]

    def test_what_nobody_fetches_becomes_a_dead_letter_which_can_be_redriven(
        self, endpoint: Endpoint, configure: Configure
    ) -> None:
        [event] = emitted(1)
        configure(HELD_RETENTION=-1)
        assert sweeps.held_too_long() == 1
        letter = DeadLetter.objects.get()
        assert letter.last_error == "It was not fetched from its feed in time."
        page = fetch(endpoint)
        assert page.items == []
        delivery = to_uuid(letter.delivery_id)
        assert operations.redrive([delivery]) == [delivery]
        assert claim([delivery]) == []
        assert everything(endpoint, page.cursor) == [event]


def test_nothing_is_sent_and_nobody_rung_for_a_feed(
    endpoint: Endpoint, queue: Queue, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        emitted(1)
    assert queue.messages() == []
    assert sweeps.held() == 0


def test_what_is_discarded_is_not_in_the_feed(endpoint: Endpoint) -> None:
    first, second = emitted(2)
    operations.discard([to_uuid(Delivery.objects.get(event=first).pk)])
    assert everything(endpoint) == [second]


def test_a_deleted_feed_is_gone(endpoint: Endpoint) -> None:
    emitted(1)
    endpoint.delete_for_good()
    with pytest.raises(Feed.DoesNotExist):
        fetch(endpoint)
    assert sweeps.held() == 1
    assert Delivery.objects.get().state == "discarded"


def test_a_subscriber_has_one_feed_and_another_when_that_is_deleted(endpoint: Endpoint) -> None:
    endpoint.delete_for_good()
    again = Feed.objects.open(endpoint.subscriber)
    assert again.pk != endpoint.pk


def test_reading_takes_the_same_few_queries_however_much_there_is(
    endpoint: Endpoint, django_assert_num_queries: Any
) -> None:
    emitted(60)
    with django_assert_num_queries(7):
        page = fetch(endpoint)
    with django_assert_num_queries(6):
        fetch(endpoint, page.cursor)
