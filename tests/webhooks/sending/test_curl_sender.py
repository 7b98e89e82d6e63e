"""What the curl sender promises beside the contract: many exchanges at once on one loop."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest

from tests.webhooks.sending import http_2
from tests.webhooks.sending.behaviours import kept_alive, waits
from tests.webhooks.sending.certificates import Authority
from tests.webhooks.sending.conftest import (
    HASTY,
    LOOPBACK,
    PATIENT,
    HubSender,
    MakeSender,
    curl_only,
)
from tests.webhooks.sending.hostile_receiver import HostileReceiver
from webhooks.addresses import AddressPolicy
from webhooks.sending.names import Resolve
from webhooks.sending.outcome import Limits, Outcome, OutcomeKind, OutgoingRequest

MakeHubSender = Callable[..., HubSender]


@pytest.fixture
def make_hub_sender() -> Iterator[MakeHubSender]:
    with ExitStack() as stack:

        def make(**options: Any) -> HubSender:
            defaults = {"policy": LOOPBACK, "limits": PATIENT, "user_agent": "Angarium/test"}
            return stack.enter_context(closing(HubSender(**{**defaults, **options})))

        yield make


@pytest.fixture
def on_hub(make_hub_sender: MakeHubSender) -> HubSender:
    return make_hub_sender()


@pytest.fixture
def hanging() -> Iterator[Resolve]:
    """A resolver that does not answer until the test is over."""
    over = threading.Event()

    def resolve(host: str) -> list[str]:
        over.wait()
        return []

    yield resolve
    over.set()


def to(url: str, body: bytes = b"{}") -> OutgoingRequest:
    return OutgoingRequest(url, {}, body)


def descriptors() -> dict[int, bool]:
    """All that are open, and whether they are inherited."""
    inheritable = {}
    for name in os.listdir("/proc/self/fd"):
        # The listing has one of its own, which is closed by now.
        with suppress(OSError):
            inheritable[int(name)] = os.get_inheritable(int(name))
    return inheritable


class TestExchanges:
    def test_each_of_many_at_once_is_done_once(self, on_hub: HubSender) -> None:
        outcomes: list[Outcome] = []
        bodies = [b"%03d" % number for number in range(100)]
        with HostileReceiver(kept_alive) as receiver:
            for body in bodies:
                on_hub.sender.start(to(receiver.url(), body), outcomes.append)
            assert on_hub.sender.in_flight == 100
            on_hub.run()
            on_hub.close()
        assert [outcome.kind for outcome in outcomes] == [OutcomeKind.DELIVERED] * 100
        assert sorted(request.body for request in receiver.requests) == bodies

    def test_one_that_is_slow_keeps_no_other_waiting(self, on_hub: HubSender) -> None:
        slow: list[Outcome] = []
        with HostileReceiver(waits) as silent, HostileReceiver(kept_alive) as receiver:
            on_hub.sender.start(to(silent.url()), slow.append)
            fast: list[Outcome] = []
            on_hub.sender.start(to(receiver.url()), fast.append)
            while not fast:
                on_hub.hub.run_once()
            assert (slow, on_hub.sender.in_flight) == ([], 1)
            on_hub.close()

    def test_no_host_has_more_connections_than_it_may(
        self, make_hub_sender: MakeHubSender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("webhooks.sending.curl_sender.MAX_CONNECTIONS_PER_HOST", 2)
        on_hub = make_hub_sender()
        outcomes: list[Outcome] = []
        with HostileReceiver(kept_alive) as receiver:
            for _ in range(10):
                on_hub.sender.start(to(receiver.url()), outcomes.append)
            on_hub.run()
            assert receiver.connections() == 2
            on_hub.close()
        assert [outcome.kind for outcome in outcomes] == [OutcomeKind.DELIVERED] * 10

    @curl_only
    def test_http_2_is_spoken_where_it_is_offered_over_tls(
        self, make_sender: MakeSender, authority: Authority
    ) -> None:
        tls = authority.server_context("receiver.example")
        tls.set_alpn_protocols(["h2"])
        sender = make_sender(ca_bundle=str(authority.bundle))
        with HostileReceiver(http_2.answers_200, tls=tls) as receiver:
            outcome = sender.send(to(receiver.url(host="receiver.example")))
        assert (outcome.kind, outcome.status) == (OutcomeKind.DELIVERED, 200)


class TestDone:
    @pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://127.0.0.1:1025/"])
    def test_it_is_never_called_before_start_returns(self, on_hub: HubSender, url: str) -> None:
        outcomes: list[Outcome] = []
        on_hub.sender.start(to(url), outcomes.append)
        assert (outcomes, on_hub.sender.in_flight) == ([], 1)
        on_hub.run()
        assert len(outcomes) == 1

    def test_it_may_start_the_next_exchange(self, on_hub: HubSender) -> None:
        outcomes: list[Outcome] = []
        with HostileReceiver(kept_alive) as receiver:

            def done(outcome: Outcome) -> None:
                outcomes.append(outcome)
                if len(outcomes) < 5:
                    on_hub.sender.start(to(receiver.url()), done)

            on_hub.sender.start(to(receiver.url()), done)
            on_hub.run()
            assert receiver.connections() == 1
            on_hub.close()
        assert [outcome.kind for outcome in outcomes] == [OutcomeKind.DELIVERED] * 5

    def test_one_that_fails_is_logged_and_harms_no_other(
        self, on_hub: HubSender, caplog: pytest.LogCaptureFixture
    ) -> None:
        outcomes: list[Outcome] = []

        def fail(outcome: Outcome) -> None:
            raise LookupError("the parcel is lost")

        for done in (outcomes.append, fail, outcomes.append):
            on_hub.sender.start(to("http://10.0.0.1/"), done)
        on_hub.run()
        assert len(outcomes) == 2
        assert "the parcel is lost" in caplog.text

    def test_it_may_close_the_sender(self, on_hub: HubSender) -> None:
        outcomes: list[Outcome] = []

        def done(outcome: Outcome) -> None:
            outcomes.append(outcome)
            on_hub.sender.close()

        for _ in range(2):
            on_hub.sender.start(to("http://10.0.0.1/"), done)
        on_hub.run()
        assert len(outcomes) == 1


class TestNames:
    def test_one_is_looked_up_once_for_all_that_wait_for_it(
        self, make_hub_sender: MakeHubSender
    ) -> None:
        asked: list[str] = []
        together = threading.Event()

        def resolve(host: str) -> list[str]:
            asked.append(host)
            assert together.wait(10)
            return ["127.0.0.1"]

        on_hub = make_hub_sender(resolve=resolve)
        outcomes: list[Outcome] = []
        with HostileReceiver(kept_alive) as receiver:
            for _ in range(20):
                on_hub.sender.start(to(receiver.url(host="receiver.example")), outcomes.append)
            while not asked or on_hub.sender.in_flight < 20:
                on_hub.hub.run_once()
            together.set()
            on_hub.run()
            on_hub.close()
        assert [outcome.kind for outcome in outcomes] == [OutcomeKind.DELIVERED] * 20
        assert asked == ["receiver.example"]

    @pytest.mark.parametrize("keep_alive", [60.0, 0.0])
    def test_it_is_not_looked_up_again_for_each_request(
        self, make_hub_sender: MakeHubSender, keep_alive: float
    ) -> None:
        asked: list[str] = []

        def resolve(host: str) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"]

        on_hub = make_hub_sender(resolve=resolve, limits=Limits(keep_alive=keep_alive))
        with HostileReceiver(kept_alive) as receiver:
            for _ in range(5):
                on_hub.send(to(receiver.url(host="receiver.example")))
            assert receiver.connections() == (1 if keep_alive else 5)
            on_hub.close()
        assert asked == ["receiver.example"]

    def test_an_address_is_not_looked_up(self, make_hub_sender: MakeHubSender) -> None:
        on_hub = make_hub_sender(resolve=lambda host: pytest.fail("looked an address up"))
        with HostileReceiver(kept_alive) as receiver:
            assert on_hub.send(to(receiver.url())).kind is OutcomeKind.DELIVERED
            on_hub.close()

    def test_the_address_that_is_connected_to_is_judged_once_more(
        self, make_hub_sender: MakeHubSender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("webhooks.sending.names.refusal", lambda address, policy: None)
        on_hub = make_hub_sender(
            policy=AddressPolicy(allow_http=True), resolve=lambda host: ["127.0.0.1"]
        )
        with HostileReceiver(kept_alive) as receiver:
            outcome = on_hub.send(to(receiver.url(host="receiver.example")))
            assert outcome.kind is OutcomeKind.NAME_REFUSED
            assert receiver.connections() == 0

    def test_one_that_hangs_keeps_no_other_waiting(
        self, make_hub_sender: MakeHubSender, hanging: Resolve
    ) -> None:
        on_hub = make_hub_sender(resolve=hanging)
        outcomes: list[Outcome] = []
        with HostileReceiver(kept_alive) as receiver:
            on_hub.sender.start(to("http://hanging.example/"), outcomes.append)
            assert on_hub.send(to(receiver.url())).kind is OutcomeKind.DELIVERED
            assert (outcomes, on_hub.sender.in_flight) == ([], 1)
            on_hub.close()
        assert outcomes == []

    def test_one_that_hangs_is_given_up_though_the_loop_was_reset(
        self, make_hub_sender: MakeHubSender, hanging: Resolve
    ) -> None:
        on_hub = make_hub_sender(resolve=hanging, limits=HASTY)
        kinds: list[OutcomeKind] = []
        on_hub.sender.start(
            to("http://hanging.example/"), lambda outcome: kinds.append(outcome.kind)
        )
        on_hub.hub.run_once()
        on_hub.hub.reset()
        on_hub.hub.timer.clear()
        on_hub.sender.watch_again()
        on_hub.run()
        assert kinds == [OutcomeKind.TIMED_OUT]

    def test_one_that_is_found_after_all_is_found_for_nobody(
        self, make_hub_sender: MakeHubSender
    ) -> None:
        late = threading.Event()
        on_hub = make_hub_sender(
            resolve=lambda host: ["127.0.0.1"] if late.wait() else [], limits=HASTY
        )
        with HostileReceiver(kept_alive) as receiver:
            request = to(receiver.url(host="receiver.example"))
            assert on_hub.send(request).kind is OutcomeKind.TIMED_OUT
            late.set()
            assert on_hub.send(request).kind is OutcomeKind.DELIVERED
            assert receiver.connections() == 1
            on_hub.close()


class TestLoop:
    def test_one_that_was_reset_is_watched_again(self, make_hub_sender: MakeHubSender) -> None:
        on_hub = make_hub_sender(limits=HASTY)
        kinds: list[OutcomeKind] = []
        with HostileReceiver(waits) as silent, HostileReceiver(kept_alive) as receiver:
            for url in (receiver.url(), silent.url(), "http://10.0.0.1/"):
                on_hub.sender.start(to(url), lambda outcome: kinds.append(outcome.kind))
            on_hub.hub.reset()
            on_hub.hub.timer.clear()
            on_hub.sender.watch_again()
            on_hub.run()
            on_hub.close()
        assert sorted(kinds) == sorted(
            [OutcomeKind.DELIVERED, OutcomeKind.TIMED_OUT, OutcomeKind.ADDRESS_REFUSED]
        )

    def test_nothing_is_left_with_it(self, make_hub_sender: MakeHubSender) -> None:
        on_hub = make_hub_sender()
        with HostileReceiver(kept_alive) as receiver:
            on_hub.send(to(receiver.url()))
            on_hub.sender.close()
        assert on_hub.hub.readers == {}
        assert all(entry.cancelled for _, _, entry in on_hub.hub.timer.queue)


class TestClose:
    def test_what_is_in_flight_is_dropped_and_never_done(
        self, make_hub_sender: MakeHubSender
    ) -> None:
        before = descriptors()
        on_hub = make_hub_sender()
        outcomes: list[Outcome] = []
        with HostileReceiver(kept_alive) as receiver, HostileReceiver(waits) as silent:
            on_hub.sender.start(to(silent.url()), outcomes.append)
            on_hub.sender.start(to("http://10.0.0.1/"), outcomes.append)
            on_hub.send(to(receiver.url()))
            on_hub.sender.start(to(receiver.url()), outcomes.append)
            [refused] = outcomes
            on_hub.close()
            assert on_hub.sender.in_flight == 0
        assert refused.kind is OutcomeKind.ADDRESS_REFUSED
        assert outcomes == [refused]
        assert descriptors() == before

    def test_no_descriptor_outlives_the_start_of_another_program(
        self, make_hub_sender: MakeHubSender
    ) -> None:
        before = descriptors()
        on_hub = make_hub_sender()
        with HostileReceiver(kept_alive) as receiver:
            on_hub.send(to(receiver.url()))
            opened = descriptors().items() - before.items()
            on_hub.close()
        assert opened
        assert not any(inheritable for _, inheritable in opened)
