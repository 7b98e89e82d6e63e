"""What every sender withstands of a receiver that does its worst; the contract has more of it."""

import ssl

import pytest

from tests.webhooks.sending import misbehaviours
from tests.webhooks.sending.behaviours import OK, kept_alive, saying
from tests.webhooks.sending.certificates import Authority
from tests.webhooks.sending.conftest import (
    FULL_BUFFERS,
    GENEROUS_MS,
    HASTY,
    PATIENT,
    MakeSender,
    Send,
    curl_only,
    each,
)
from tests.webhooks.sending.hostile_receiver import Behaviour, HostileReceiver
from tests.webhooks.sending.memory import BOUND, forget_peak, peak_memory
from webhooks.sending.outcome import OutcomeKind, OutgoingRequest


class TestHead:
    @each(misbehaviours.OLD_WAYS)
    def test_what_is_merely_old_is_read(self, send: Send, behaviour: Behaviour) -> None:
        with HostileReceiver(behaviour) as receiver:
            outcome = send(receiver.url())
        assert (outcome.kind, outcome.response_body) == (OutcomeKind.DELIVERED, "ok")

    @each(misbehaviours.ODD_HEADERS)
    def test_an_odd_header_is_refused_or_passed_over(
        self, send: Send, behaviour: Behaviour
    ) -> None:
        with HostileReceiver(behaviour) as receiver:
            outcome = send(receiver.url())
        if outcome.kind is OutcomeKind.DELIVERED:
            assert (outcome.status, outcome.response_body) == (200, "ok")
        else:
            assert (outcome.kind, outcome.status) == (OutcomeKind.RESPONSE_INVALID, None)
        assert outcome.error.isprintable()


class TestFraming:
    @each(misbehaviours.ANSWERS_WITHIN_ANSWERS)
    def test_what_comes_after_the_answer_answers_no_other_request(
        self, make_sender: MakeSender, behaviour: Behaviour
    ) -> None:
        sender = make_sender()
        with HostileReceiver(behaviour) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}")
            kinds = [sender.send(request).kind for _ in range(3)]
            sender.close()
        assert kinds == [OutcomeKind.DELIVERED] * 3

    @each(misbehaviours.TWO_LENGTHS)
    def test_two_lengths_cost_the_connection(
        self, make_sender: MakeSender, behaviour: Behaviour
    ) -> None:
        sender = make_sender()
        with HostileReceiver(behaviour) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}")
            kinds = [sender.send(request).kind for _ in range(2)]
            assert kinds == [OutcomeKind.DELIVERED] * 2
            assert receiver.connections() == 2
            sender.close()

    @each(misbehaviours.ANSWERS_TO_HALF_A_REQUEST)
    def test_an_answer_to_half_a_request_is_taken_or_the_deadline_holds(
        self, send: Send, behaviour: Behaviour
    ) -> None:
        with HostileReceiver(behaviour) as receiver:
            outcome = send(receiver.url(), body=bytes(20_000_000), limits=HASTY)
        assert (outcome.kind, outcome.status) in [
            (OutcomeKind.REJECTED, 413),
            (OutcomeKind.TIMED_OUT, None),
            (OutcomeKind.CONNECTION_FAILED, None),
        ]
        assert outcome.duration_ms < GENEROUS_MS


class TestBody:
    @pytest.mark.parametrize("coding", misbehaviours.BOMBS)
    @pytest.mark.parametrize("header", misbehaviours.CODINGS)
    def test_a_compressed_one_is_not_unpacked(self, send: Send, coding: str, header: str) -> None:
        with HostileReceiver(misbehaviours.bomb(coding, header)) as receiver:
            before = forget_peak()
            outcome = send(receiver.url())
        assert outcome.kind is OutcomeKind.DELIVERED
        assert peak_memory() - before < BOUND
        packed = misbehaviours.BOMBS[coding][:4096].decode("utf-8", "replace")
        packed = packed.replace("\0", "\N{REPLACEMENT CHARACTER}")
        # One that was to be unpacked before it could be read may be left unread.
        kept = {packed, ""} if header == "Transfer-Encoding" else {packed}
        assert outcome.response_body in kept

    @each(misbehaviours.WITHOUT_END)
    def test_an_endless_answer_is_not_held_in_memory(
        self, send: Send, behaviour: Behaviour
    ) -> None:
        with HostileReceiver(behaviour) as receiver:
            before = forget_peak()
            send(receiver.url())
            assert peak_memory() - before < BOUND
        assert receiver.writers[0].said < FULL_BUFFERS


class TestReset:
    @each(misbehaviours.RESETS_BEFORE_THE_END_OF_THE_HEAD)
    def test_before_the_head_is_complete_it_is_a_failure(
        self, send: Send, behaviour: Behaviour
    ) -> None:
        with HostileReceiver(behaviour) as receiver:
            outcome = send(receiver.url())
        assert (outcome.kind, outcome.status) == (OutcomeKind.CONNECTION_FAILED, None)
        assert "connection" in outcome.error

    @each(misbehaviours.RESETS_WITHIN_THE_BODY)
    def test_within_the_body_it_leaves_the_status_as_it_is(
        self, send: Send, behaviour: Behaviour
    ) -> None:
        with HostileReceiver(behaviour) as receiver:
            outcome = send(receiver.url())
        assert (outcome.kind, outcome.response_body) == (OutcomeKind.DELIVERED, "ok")


class TestAdvice:
    """Of the endpoint to come by another way: nobody takes it."""

    @pytest.mark.parametrize("status", misbehaviours.REDIRECTS)
    @pytest.mark.parametrize("header", misbehaviours.POINTERS)
    def test_no_redirect_is_followed(self, send: Send, status: int, header: str) -> None:
        with HostileReceiver(saying(OK)) as elsewhere:
            there = elsewhere.url("/latest/meta-data")
            with HostileReceiver(misbehaviours.pointing(status, header, there)) as receiver:
                outcome = send(receiver.url())
                assert receiver.connections() == 1
            assert (outcome.kind, outcome.status) == (OutcomeKind.REDIRECTED, status)
            assert elsewhere.connections() == 0

    def test_neither_another_server_nor_another_scheme_is_remembered(
        self, make_sender: MakeSender, authority: Authority
    ) -> None:
        tls = authority.server_context("receiver.example")
        sender = make_sender(ca_bundle=str(authority.bundle))
        with (
            HostileReceiver(kept_alive) as trap,
            HostileReceiver(saying(OK)) as in_the_clear,
        ):
            with HostileReceiver(misbehaviours.advising(trap.port), tls=tls) as receiver:
                for one in (receiver, receiver, in_the_clear):
                    request = OutgoingRequest(one.url(host="receiver.example"), {}, b"{}")
                    assert sender.send(request).kind is OutcomeKind.DELIVERED
                assert receiver.connections() == 2
            assert in_the_clear.requests
            assert trap.connections() == 0
            sender.close()


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


class TestTLS:
    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    def test_a_version_that_is_too_old_is_refused(self, send: Send, authority: Authority) -> None:
        tls = old(authority.server_context("receiver.example"))
        with HostileReceiver(saying(OK), tls=tls) as receiver:
            url = receiver.url(host="receiver.example")
            outcome = send(url, ca_bundle=str(authority.bundle))
        assert outcome.kind is OutcomeKind.TLS_FAILED
        assert "version" in outcome.error
        assert receiver.requests == []

    def test_a_cipher_without_authentication_is_refused(
        self, send: Send, authority: Authority
    ) -> None:
        tls = authority.server_context("receiver.example")
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        tls.set_ciphers("aNULL:@SECLEVEL=0")
        with HostileReceiver(saying(OK), tls=tls) as receiver:
            url = receiver.url(host="receiver.example")
            outcome = send(url, ca_bundle=str(authority.bundle))
        assert outcome.kind is OutcomeKind.TLS_FAILED
        assert receiver.requests == []

    def test_a_handshake_that_drips_is_timed_out(self, send: Send) -> None:
        with HostileReceiver(misbehaviours.drips_its_handshake) as receiver:
            url = receiver.url(host="receiver.example", scheme="https")
            outcome = send(url, limits=HASTY)
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.duration_ms < GENEROUS_MS

    @pytest.mark.parametrize(
        ("sentence", "kinds"),
        [
            ("resets on a handshake", (OutcomeKind.TLS_FAILED, OutcomeKind.CONNECTION_FAILED)),
            ("closes on a handshake", (OutcomeKind.TLS_FAILED, OutcomeKind.CONNECTION_FAILED)),
            ("floods a handshake", (OutcomeKind.TLS_FAILED,)),
        ],
    )
    def test_a_handshake_that_breaks_off_is_a_failure(
        self, send: Send, sentence: str, kinds: tuple[OutcomeKind, ...]
    ) -> None:
        with HostileReceiver(misbehaviours.ON_A_HANDSHAKE[sentence]) as receiver:
            outcome = send(receiver.url(host="receiver.example", scheme="https"))
        assert outcome.kind in kinds
        assert outcome.error

    def test_a_body_that_ends_without_a_farewell_leaves_the_status_as_it_is(
        self, send: Send, authority: Authority
    ) -> None:
        tls = authority.server_context("receiver.example")
        behaviour = misbehaviours.BROKEN_BODIES["answers with less than its length"]
        with HostileReceiver(behaviour, tls=tls) as receiver:
            url = receiver.url(host="receiver.example")
            outcome = send(url, ca_bundle=str(authority.bundle))
        assert (outcome.kind, outcome.response_body) == (OutcomeKind.DELIVERED, "ok")


@curl_only
class TestHttp2:
    """The curl sender speaks it where it is offered; the other never does."""

    BROKEN_OFF = (OutcomeKind.CONNECTION_FAILED, OutcomeKind.RESPONSE_INVALID)
    """Which of them depends on the version of curl."""

    @pytest.mark.parametrize(
        ("what", "kinds"),
        [
            ("pings", BROKEN_OFF),
            ("settings", BROKEN_OFF),
            ("windows", (OutcomeKind.TIMED_OUT,)),
            ("headers", BROKEN_OFF),
            ("empty headers", BROKEN_OFF),
            ("interim responses", (OutcomeKind.RESPONSE_INVALID,)),
            ("trailers", (OutcomeKind.DELIVERED,)),
            ("a body", (OutcomeKind.DELIVERED,)),
            ("an empty body", (OutcomeKind.DELIVERED,)),
            ("pushes", BROKEN_OFF),
            ("resets", BROKEN_OFF),
            ("farewells", BROKEN_OFF),
            ("nonsense", BROKEN_OFF),
        ],
    )
    def test_what_is_endless_is_cut(
        self,
        make_sender: MakeSender,
        authority: Authority,
        what: str,
        kinds: tuple[OutcomeKind, ...],
    ) -> None:
        behaviour = misbehaviours.OVER_HTTP_2[f"sends {what} without end over HTTP/2"]
        tls = authority.server_context("receiver.example")
        tls.set_alpn_protocols(["h2"])
        limits = HASTY if OutcomeKind.TIMED_OUT in kinds else PATIENT
        sender = make_sender(ca_bundle=str(authority.bundle), limits=limits)
        with HostileReceiver(behaviour, tls=tls) as receiver:
            request = OutgoingRequest(receiver.url(host="receiver.example"), {}, b"{}")
            before = forget_peak()
            outcome = sender.send(request)
            assert peak_memory() - before < BOUND
            sender.close()
        assert outcome.kind in kinds
        assert outcome.duration_ms < GENEROUS_MS
