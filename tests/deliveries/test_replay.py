"""Replays: what they take, and that they take it once, at the rate they may, to the end."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from deliveries import replay_selection, replays, retention, sweeps
from deliveries.emit import emit
from deliveries.models import DeadLetter, Delivery, Event, Replay
from deliveries.replay_selection import matches
from subscriptions.event_types import patterns_matching
from subscriptions.history import HistoryEntry
from subscriptions.models import Endpoint, EventType, Feed, Subscriber, Subscription
from tests.conftest import Configure, MakeEndpoint, Queue
from tests.deliveries.conftest import MakeDelivery, states
from tests.deliveries.test_operations import in_state

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]

HOUR = timedelta(hours=1)
OPENED = {"circuit_opened_at": timezone.now(), "openings": 1}


@pytest.fixture
def endpoint(make_endpoint: MakeEndpoint) -> Endpoint:
    return make_endpoint("invoice.*")


def emitted(*types: str, **options: Any) -> list[Event]:
    return [emit(event_type, {"n": n}, **options) for n, event_type in enumerate(types)]


def end(endpoint: Endpoint, state: str = "delivered") -> list[str]:
    """Let all that is on its way to the endpoint end so; returns what it was, in order."""
    rows = Delivery.objects.filter(endpoint=endpoint, ended_at=None)
    ended = list(rows.order_by("pk").values_list("pk", flat=True))
    rows.update(state=state, ended_at=timezone.now(), attempt_number=1, rung_at=None)
    return ended


def emit_at(ago: timedelta) -> Event:
    """An event that was emitted so long ago: its id and those of its deliveries say so."""
    event = emit("invoice.paid", {})
    with transaction.atomic():  # at whose end PostgreSQL looks at the foreign keys
        for delivery in event.deliveries.all():
            Delivery.objects.filter(pk=delivery.pk).update(
                id=moved(delivery.pk, ago), event=moved(event.pk, ago)
            )
        Event.objects.filter(pk=event.pk).update(id=moved(event.pk, ago))
    return Event.objects.get(pk=moved(event.pk, ago))


def moved(row_id: str, ago: timedelta) -> str:
    prefix, digits = row_id.split("_")
    return f"{prefix}_{int(digits, 16) - (ago // timedelta(milliseconds=1) << 80):032x}"


def asked(endpoint: Endpoint, **fields: Any) -> Replay:
    """A replay that is clean, and not saved."""
    # Ids and times are made by the same clock, and are the same within a millisecond.
    fields.setdefault("created_at", timezone.now() + timedelta(milliseconds=2))
    replay = Replay(endpoint=endpoint, **fields)
    replay.clean()
    return replay


def started(endpoint: Endpoint, **fields: Any) -> Replay:
    replay = asked(endpoint, **fields)
    replays.start(replay)
    return replay


def make_due() -> None:
    """Let what is running go on now, and long since."""
    Replay.objects.filter(state="running").update(due_at=timezone.now() - HOUR)


def run(replay: Replay) -> Replay:
    """Take every chunk at once, however long the rate would have it wait."""
    make_due()
    while replays.step(replay.pk) is not None:
        make_due()
    replay.refresh_from_db()
    return replay


def pending() -> set[str]:
    return {delivery for delivery, state in states().items() if state == "pending"}


class TestAgain:
    def test_what_was_delivered_or_is_dead_is_sent_again_and_what_was_discarded_is_not(
        self, endpoint: Endpoint
    ) -> None:
        ends = {}
        for state in ("delivered", "dead", "discarded"):
            emitted("invoice.paid")
            [ends[state]] = end(endpoint, state)
        replay = run(started(endpoint))
        assert pending() == {ends["delivered"], ends["dead"]}
        assert (replay.state, replay.replayed, replay.progress) == ("finished", 2, 1.0)

    @pytest.mark.parametrize("state", ["delivered", "dead", "discarded"])
    def test_one_outcome_may_be_asked_for(self, endpoint: Endpoint, state: str) -> None:
        ends = {}
        for other in ("delivered", "dead", "discarded"):
            emitted("invoice.paid")
            [ends[other]] = end(endpoint, other)
        run(started(endpoint, states=[state]))
        assert pending() == {ends[state]}

    def test_each_has_the_whole_schedule_before_it_and_keeps_its_event(
        self, endpoint: Endpoint
    ) -> None:
        [event] = emitted("invoice.paid")
        [pk] = end(endpoint, "dead")
        Delivery.objects.update(attempt_number=4)
        DeadLetter.objects.create(delivery_id=pk, reason="exhausted", died_at=timezone.now())
        run(started(endpoint))
        delivery = Delivery.objects.get()
        assert (delivery.pk, delivery.event_id) == (pk, event.pk)
        assert (delivery.attempt_number, delivery.round_start) == (4, 4)
        assert DeadLetter.objects.get().resolution == "replayed"

    def test_what_has_not_ended_is_left_alone(self, make_delivery: MakeDelivery) -> None:
        for state in ("sending", "waiting", "held"):
            delivery = in_state(make_delivery, state)
            assert run(started(delivery.endpoint)).replayed == 0
            assert states()[delivery.pk] == state

    def test_the_deliveries_to_other_endpoints_are_left_alone(
        self, make_endpoint: MakeEndpoint, endpoint: Endpoint
    ) -> None:
        other = make_endpoint("*")
        emitted("invoice.paid")
        ours, theirs = end(endpoint), end(other)
        run(started(endpoint))
        assert pending() == {*ours}
        assert states()[theirs[0]] == "delivered"

    @pytest.mark.parametrize(
        ("pattern", "taken"),
        [
            ("*", {0, 1, 2}),
            ("invoice.*", {0, 1, 2}),
            ("invoice.paid", {0}),
            ("invoice.paid.*", {1}),
        ],
    )
    def test_a_pattern_narrows_it(self, endpoint: Endpoint, pattern: str, taken: set[int]) -> None:
        emitted("invoice.paid", "invoice.paid.late", "invoice.sent")
        ended = end(endpoint)
        run(started(endpoint, pattern=pattern))
        assert pending() == {ended[place] for place in taken}

    def test_a_range_is_of_the_times_at_which_events_were_emitted(self, endpoint: Endpoint) -> None:
        early, now = emit_at(3 * HOUR), timezone.now()
        emit_at(2 * HOUR)
        emit_at(HOUR)
        end(endpoint)
        replay = started(endpoint, since=now - 2.5 * HOUR, until=now - 1.5 * HOUR)
        run(replay)
        assert replay.replayed == 1
        assert Delivery.objects.get(state="pending").event_id != early.pk

    def test_what_ended_after_it_was_started_by_its_own_doing_is_not_sent_twice(
        self, endpoint: Endpoint
    ) -> None:
        emitted(*["invoice.paid"] * 3)
        end(endpoint)
        replay = started(endpoint, rate=1)
        for _ in range(3):
            assert replays.step(replay.pk) == 1.0
            end(endpoint)
            make_due()
        assert replays.step(replay.pk) is None
        replay.refresh_from_db()
        assert (replay.state, replay.replayed) == ("finished", 3)

    def test_what_is_emitted_after_its_start_is_not_its_business(self, endpoint: Endpoint) -> None:
        replay = started(endpoint, created_at=timezone.now() - timedelta(seconds=1))
        emitted("invoice.paid")
        end(endpoint)
        assert run(replay).replayed == 0

    def test_an_endpoint_that_wants_batches_gathers_them(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint("*", batch_events=5)
        emitted("invoice.paid")
        [pk] = end(endpoint)
        run(started(endpoint))
        assert states() == {pk: "gathering"}

    def test_who_is_in_the_batch_of_one_that_is_sent_again_shares_what_became_of_that_before(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint("*")
        emitted("invoice.paid", "invoice.paid")
        lead, member = end(endpoint)
        Delivery.objects.filter(pk=lead).update(batch_size=2)
        Delivery.objects.filter(pk=member).update(state="batched", lead=lead, ended_at=None)
        run(started(endpoint))
        assert states() == {lead: "pending", member: "delivered"}

    def test_an_ordered_endpoint_gets_each_key_in_order(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint("*", ordered=True)
        emitted(*["invoice.paid"] * 3, ordering_key="order-42")
        ended = end(endpoint)
        run(started(endpoint))
        assert states() == dict.fromkeys(ended, "queued")


class TestMissed:
    def test_events_that_a_new_subscription_asks_for_are_delivered_once(
        self, endpoint: Endpoint
    ) -> None:
        had, missed, _ = emitted("invoice.paid", "order.paid", "user.made")
        end(endpoint)
        Subscription.objects.create(endpoint=endpoint, pattern="order.*")
        assert run(started(endpoint, kind="missed")).replayed == 1
        assert set(endpoint.deliveries.values_list("event", "state")) == {
            (had.pk, "delivered"),
            (missed.pk, "pending"),
        }
        missed.refresh_from_db()
        assert missed.delivery_count == 1
        end(endpoint)
        assert run(started(endpoint, kind="missed")).replayed == 0

    def test_those_from_before_its_registration_are_sent_only_if_the_range_says_so(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        early = emit_at(2 * HOUR)
        endpoint = make_endpoint("*")
        assert run(started(endpoint, kind="missed")).replayed == 0
        run(started(endpoint, kind="missed", since=timezone.now() - 3 * HOUR))
        assert endpoint.deliveries.get().event == early

    def test_an_event_for_another_subscriber_is_not_seen(self, endpoint: Endpoint) -> None:
        other = Subscriber.objects.create(name="Croesus")
        Subscription.objects.create(endpoint=endpoint, pattern="shared.*")
        Subscription.objects.update(enabled=False)
        emit("shared.made", {}, subscriber=other)
        ours = emit("shared.made", {}, subscriber=endpoint.subscriber)
        everybody_s = emit("shared.made", {})
        Subscription.objects.update(enabled=True)
        run(started(endpoint, kind="missed"))
        assert set(endpoint.deliveries.values_list("event", flat=True)) == {
            ours.pk,
            everybody_s.pk,
        }

    def test_channels_filters_and_the_pattern_have_their_say(self, endpoint: Endpoint) -> None:
        on_eu, on_us = (emit("order.paid", {}, channels=[name]) for name in ("eu", "us"))
        large, small = (emit("trade.made", {"amount": amount}) for amount in (500, 5))
        emit("trade.undone", {"amount": 500})
        off = emit("off.made", {})
        Subscription.objects.bulk_create(
            [
                Subscription(endpoint=endpoint, pattern="order.*", channels=["eu"]),
                Subscription(endpoint=endpoint, pattern="trade.made", filter="amount > `100`"),
                Subscription(endpoint=endpoint, pattern="off.*", enabled=False),
            ]
        )
        run(started(endpoint, kind="missed"))
        assert set(endpoint.deliveries.values_list("event", flat=True)) == {on_eu.pk, large.pk}
        assert not {on_us.pk, small.pk, off.pk} & set(
            Delivery.objects.values_list("event", flat=True)
        )
        Delivery.objects.all().delete()
        run(started(endpoint, kind="missed", pattern="trade.*"))
        assert endpoint.deliveries.get().event == large

    def test_a_type_that_does_not_exist_for_the_subscriber_stays_so(
        self, endpoint: Endpoint
    ) -> None:
        EventType.objects.create(name="secret.made", feature_flag="beta")
        emit("secret.made", {})
        Subscription.objects.create(endpoint=endpoint, pattern="secret.*")
        assert run(started(endpoint, kind="missed")).replayed == 0
        Subscriber.objects.update(feature_flags=["beta"])
        assert run(started(endpoint, kind="missed")).replayed == 1

    @pytest.mark.django_db(transaction=True)
    def test_a_filter_without_a_value_lets_the_event_pass_and_is_counted(
        self, endpoint: Endpoint
    ) -> None:
        emit("trade.made", {"note": None})
        asks = Subscription.objects.create(
            endpoint=endpoint, pattern="trade.*", filter="starts_with(note, 'x')"
        )
        assert replays.count(asked(endpoint, kind="missed")).count == 1
        asks.refresh_from_db()
        assert asks.filter_failures == 0
        assert run(started(endpoint, kind="missed")).replayed == 1
        asks.refresh_from_db()
        assert asks.filter_failures == 1

    def test_filters_that_take_long_leave_the_rest_to_the_next_chunk(
        self, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay_selection, "PATIENCE", -1.0)
        emitted(*["trade.made"] * 3)
        Subscription.objects.create(endpoint=endpoint, pattern="trade.*", filter="n >= `0`")
        replay = started(endpoint, kind="missed")
        replays.step(replay.pk)
        assert endpoint.deliveries.count() == 1
        assert run(replay).replayed == 3

    def test_an_event_whose_fan_out_is_under_way_is_left_to_that(
        self, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        configure(FAN_OUT_INLINE_LIMIT=0)
        endpoint = make_endpoint("*")
        emit("invoice.paid", {})
        assert run(started(endpoint, kind="missed")).replayed == 0

    @pytest.mark.parametrize(
        ("fields", "state"),
        [
            ({}, "pending"),
            ({"batch_events": 5}, "gathering"),
            ({"ordered": True}, "queued"),
        ],
    )
    def test_they_begin_as_an_event_s_deliveries_do(
        self, make_endpoint: MakeEndpoint, fields: dict[str, Any], state: str
    ) -> None:
        endpoint = make_endpoint("other.*", **fields)
        emit("invoice.paid", {}, ordering_key="order-42")
        Subscription.objects.create(endpoint=endpoint, pattern="*")
        run(started(endpoint, kind="missed"))
        assert set(states().values()) == {state}


class TestPace:
    def test_a_chunk_is_a_second_s_worth_and_the_next_is_due_after_it(
        self, endpoint: Endpoint
    ) -> None:
        emitted(*["invoice.paid"] * 5)
        end(endpoint)
        replay = started(endpoint, rate=2)
        assert replays.step(replay.pk) == 1.0
        assert len(pending()) == 2
        assert replays.step(replay.pk) is None  # not due
        assert len(pending()) == 2
        make_due()
        assert replays.step(replay.pk) == 1.0
        assert len(pending()) == 4

    def test_a_chunk_is_no_larger_than_a_sweep_s_and_waits_less_then(
        self, endpoint: Endpoint, configure: Configure
    ) -> None:
        configure(SWEEP_CHUNK=2)
        emitted(*["invoice.paid"] * 5)
        end(endpoint)
        assert replays.step(started(endpoint, rate=4).pk) == 0.5
        assert len(pending()) == 2

    def test_where_nothing_is_found_it_goes_on_at_once(
        self, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay_selection, "STRETCH", 2)
        emitted(*["invoice.sent"] * 5, "invoice.paid")
        end(endpoint)
        for kind in ("again", "missed"):
            replay = started(endpoint, kind=kind, pattern="invoice.paid")
            assert replays.step(replay.pk) == 0.0
            assert run(replay).state == "finished"
        assert len(pending()) == 1

    def test_a_full_queue_is_not_filled_further(
        self, endpoint: Endpoint, configure: Configure
    ) -> None:
        emitted("invoice.paid")
        end(endpoint)
        replay = started(endpoint)
        configure(QUEUE_LIMIT=0)
        assert replays.step(replay.pk) == replays.FULL_QUEUE_WAIT
        assert pending() == set()
        configure(QUEUE_LIMIT=100)
        assert run(replay).replayed == 1

    def test_progress_is_the_share_of_the_range_that_it_has_come_by(
        self, endpoint: Endpoint
    ) -> None:
        Endpoint.objects.update(created_at=timezone.now() - 4 * HOUR)
        endpoint.refresh_from_db()
        for hours in (3, 1):
            emit_at(hours * HOUR)
        end(endpoint)
        replay = started(endpoint, rate=1)
        assert replay.progress == 0.0
        for share in (0.25, 0.75):
            make_due()
            replays.step(replay.pk)
            replay.refresh_from_db()
            assert replay.progress == pytest.approx(share, abs=0.01)
        assert run(replay).progress == 1.0


class TestDurability:
    @pytest.mark.django_db(transaction=True)
    def test_the_workers_are_told_when_it_starts_and_when_it_is_resumed(
        self, endpoint: Endpoint, queue: Queue
    ) -> None:
        replay = started(endpoint)
        message = ("deliveries.replay", [replay.pk])
        assert queue.messages("housekeeping") == [message]
        replays.pause([replay.pk])
        assert queue.messages("housekeeping") == []
        replays.resume([replay.pk])
        assert queue.messages("housekeeping") == [message]

    @pytest.mark.django_db(transaction=True)
    def test_the_workers_are_told_of_what_it_sends(self, endpoint: Endpoint, queue: Queue) -> None:
        emitted("invoice.paid")
        [again] = end(endpoint)
        emit("order.paid", {})
        queue.purge()
        run(started(endpoint))
        assert queue.deliveries() == {again}
        Subscription.objects.create(endpoint=endpoint, pattern="order.*")
        run(started(endpoint, kind="missed"))
        assert queue.deliveries() == pending() - {again}

    def test_a_chunk_that_is_undone_is_done_again(self, endpoint: Endpoint) -> None:
        emitted("invoice.paid")
        ended = end(endpoint)
        replay = started(endpoint)
        with transaction.atomic():
            replays.step(replay.pk)
            assert pending() == {*ended}
            transaction.set_rollback(True)
        assert pending() == set()
        assert run(replay).replayed == 1
        assert pending() == {*ended}

    @pytest.mark.django_db(transaction=True)
    def test_messages_that_come_at_once_take_one_chunk(self, endpoint: Endpoint) -> None:
        emitted(*["invoice.paid"] * 8)
        end(endpoint)
        replay = started(endpoint, rate=2)

        def take(_: int) -> float | None:
            try:
                return replays.step(replay.pk)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            waits = list(pool.map(take, range(4)))
        assert sorted(waits, key=str) == [1.0, None, None, None]
        assert len(pending()) == 2

    def test_one_whose_message_is_lost_is_rung_for_again(
        self, endpoint: Endpoint, queue: Queue, configure: Configure
    ) -> None:
        configure(LOST_AFTER=30)
        replay = started(endpoint)
        Replay.objects.update(due_at=timezone.now() - timedelta(seconds=20))
        assert sweeps.due_replays() == 0
        Replay.objects.update(due_at=timezone.now() - timedelta(seconds=31))
        queue.purge()
        assert sweeps.due_replays() == 1
        assert queue.messages("housekeeping") == [("deliveries.replay", [replay.pk])]
        assert sweeps.due_replays() == 0

    @pytest.mark.parametrize(
        ("health", "said"),
        [
            *(({"state": state}, state) for state in ("paused", "disabled", "unverified")),
            ({"circuit": "open", **OPENED, "probe_at": timezone.now()}, "circuit is open"),
            ({"circuit": "half_open", **OPENED, "probe": uuid4()}, "circuit is open"),
        ],
    )
    def test_while_its_endpoint_takes_no_deliveries_it_waits_and_holds_nothing(
        self, endpoint: Endpoint, health: dict[str, Any], said: str
    ) -> None:
        emitted("invoice.paid")
        end(endpoint)
        replay = started(endpoint)
        make_due()
        Endpoint.objects.update(**health)
        assert replays.step(replay.pk) is None
        assert sweeps.due_replays() == 0
        replay = Replay.objects.get()
        assert (replay.state, replay.replayed) == ("running", 0)
        assert said in replay.waits_for
        Endpoint.objects.get().resume()
        assert sweeps.due_replays() == 1
        assert run(replay).replayed == 1
        assert Replay.objects.get().waits_for == ""

    @pytest.mark.parametrize("state", ["running", "paused"])
    def test_it_is_cancelled_with_its_endpoint(self, endpoint: Endpoint, state: str) -> None:
        emitted("invoice.paid")
        [pk] = end(endpoint)
        replay = in_replay_state(endpoint, state)
        endpoint.delete_for_good()
        assert replays.step(replay.pk) is None
        assert sweeps.due_replays() == 1
        replay.refresh_from_db()
        assert (replay.state, states()) == ("cancelled", {pk: "delivered"})

    def test_it_is_dropped_once_it_has_ended_for_as_long_as_events_are_kept(
        self, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        running, *ended = (
            in_replay_state(make_endpoint(), state)
            for state in ("running", "finished", "cancelled")
        )
        assert retention.old_replays() == 0
        configure(EVENT_RETENTION=-1)
        assert retention.old_replays() == len(ended)
        assert Replay.objects.get() == running


class TestControl:
    @pytest.mark.parametrize(
        ("change", "was", "becomes"),
        [
            (replays.pause, {"running"}, "paused"),
            (replays.resume, {"paused"}, "running"),
            (replays.cancel, {"running", "paused"}, "cancelled"),
        ],
    )
    @pytest.mark.parametrize("state", Replay.State.values)
    def test_it_is_paused_resumed_and_cancelled_where_that_makes_sense(
        self, endpoint: Endpoint, state: str, change: Any, was: set[str], becomes: str
    ) -> None:
        replay = in_replay_state(endpoint, state)
        assert change([replay.pk]) == ([replay.pk] if state in was else [])
        replay.refresh_from_db()
        assert replay.state == (becomes if state in was else state)

    def test_it_goes_on_where_it_was_paused_and_sends_nothing_meanwhile(
        self, endpoint: Endpoint
    ) -> None:
        emitted(*["invoice.paid"] * 4)
        ended = end(endpoint)
        replay = started(endpoint, rate=1)
        replays.step(replay.pk)
        replays.pause([replay.pk])
        assert replays.step(replay.pk) is None
        assert pending() == {ended[0]}
        replays.resume([replay.pk])
        assert run(replay).replayed == 4
        assert pending() == {*ended}

    def test_an_endpoint_has_one_at_a_time(self, endpoint: Endpoint) -> None:
        first = started(endpoint)
        with pytest.raises(replays.ReplayUnderWay, match="cancel it"):
            started(endpoint)
        replays.cancel([first.pk])
        started(endpoint)

    def test_a_feed_is_refused_with_what_to_do_instead(self, subscriber: Subscriber) -> None:
        with pytest.raises(ValidationError, match="goes back to an earlier cursor"):
            asked(Feed.objects.open(subscriber))

    def test_a_deleted_endpoint_is_refused(self, endpoint: Endpoint) -> None:
        endpoint.delete_for_good()
        with pytest.raises(ValidationError, match="deleted"):
            asked(endpoint)

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"since": timezone.now() + HOUR}, "since"),
            ({"since": timezone.now(), "until": timezone.now() - HOUR}, "since"),
            ({"kind": "missed", "states": ["dead"]}, "states"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, endpoint: Endpoint, fields: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(ValidationError) as refused:
            asked(endpoint, **fields)
        assert list(refused.value.message_dict) == [field]

    @pytest.mark.parametrize(
        "columns",
        [
            {"kind": "other"},
            {"states": []},
            {"states": ["pending"]},
            {"kind": "missed"},
            {"rate": 0},
            {"rate": 1001},
            {"since": timezone.now() + HOUR},
            {"state": "paused"},
            {"state": "finished", "due_at": None},
            {"due_at": None},
        ],
    )
    def test_the_database_holds_what_goes_together(
        self, endpoint: Endpoint, columns: dict[str, Any]
    ) -> None:
        started(endpoint)
        with pytest.raises(IntegrityError), transaction.atomic():
            Replay.objects.update(**columns)

    def test_the_history_has_who_began_it_with_what_and_how_it_went(
        self, endpoint: Endpoint
    ) -> None:
        HistoryEntry.objects.all().delete()
        replay = started(endpoint, pattern="invoice.*")
        replays.pause([replay.pk])
        replays.resume([replay.pk])
        run(replay)
        entries = list(HistoryEntry.objects.filter(kind="replay").order_by("pk"))
        assert {entry.object_id for entry in entries} == {replay.pk}
        assert {entry.endpoint for entry in entries} == {endpoint.pk}
        assert {entry.subscriber for entry in entries} == {endpoint.subscriber_id}
        assert entries[0].action == "created"
        assert entries[0].changes["pattern"] == [None, "invoice.*"]
        assert [entry.changes["state"] for entry in entries[1:]] == [
            ["running", "paused"],
            ["paused", "running"],
            ["running", "finished"],
        ]
        # Each delivery's own part in it is no decision of its own.
        assert not HistoryEntry.objects.filter(kind="delivery").exists()


def in_replay_state(endpoint: Endpoint, state: str) -> Replay:
    replay = started(endpoint)
    Replay.objects.filter(pk=replay.pk).update(
        state=state,
        due_at=timezone.now() if state == "running" else None,
        ended_at=timezone.now() if state in ("finished", "cancelled") else None,
    )
    replay.refresh_from_db()
    return replay


class TestCount:
    @pytest.mark.parametrize("kind", Replay.Kind.values)
    def test_a_dry_run_counts_what_is_then_sent_and_changes_nothing(
        self, endpoint: Endpoint, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay_selection, "STRETCH", 2)
        emitted(*["invoice.paid", "order.paid"] * 3)
        end(endpoint)
        Subscription.objects.create(endpoint=endpoint, pattern="order.*")
        before = states()
        counted = replays.count(asked(endpoint, kind=kind))
        assert (counted.count, counted.exact) == (3, True)
        assert (states(), Replay.objects.count()) == (before, 0)
        assert run(started(endpoint, kind=kind)).replayed == 3

    def test_it_stops_at_a_limit_and_says_so(
        self, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        emitted(*["invoice.paid"] * 3)
        end(endpoint)
        monkeypatch.setattr(replays, "COUNT_LIMIT", 2)
        assert str(replays.count(asked(endpoint))) == "2 or more"
        monkeypatch.setattr(replays, "COUNT_PATIENCE", -1.0)
        assert str(replays.count(asked(endpoint))) == "0 or more"


@pytest.mark.parametrize(
    "event_type", ["invoice", "invoice.paid", "invoice.paid.late", "invoices.x"]
)
@pytest.mark.parametrize(
    "pattern", ["*", "invoice", "invoice.*", "invoice.paid", "invoice.paid.*", "in.*", "i_voice.*"]
)
def test_a_pattern_matches_what_it_matches_when_an_event_is_emitted(
    pattern: str, event_type: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {matches('%(pattern)s::text', '%(type)s::text')}",
            {"pattern": pattern, "type": event_type},
        )
        [(found,)] = cursor.fetchall()
    assert found == (pattern in patterns_matching(event_type))
