"""Whatever a receiver does, an exchange ends in time, in little memory, and can be stored."""

from collections.abc import Callable
from dataclasses import astuple
from time import monotonic

import pytest
from django.db import connection

from tests.webhooks.sending.certificates import Authority
from tests.webhooks.sending.conftest import GENEROUS_MS, HASTY, MakeSender, each
from tests.webhooks.sending.hostile_receiver import Behaviour, HostileReceiver
from tests.webhooks.sending.memory import BOUND, forget_peak, peak_memory
from tests.webhooks.sending.misbehaviours import (
    ON_A_HANDSHAKE,
    OVER_HTTP_1,
    OVER_HTTP_2,
    WITHOUT_READING,
)
from webhooks.sending.outcome import Outcome, OutcomeKind, OutgoingRequest

Withstand = Callable[..., OutcomeKind]


@pytest.fixture
def withstand(db: None, make_sender: MakeSender, authority: Authority) -> Withstand:
    """Send a request to a URL, and one more over the same connection if it was kept."""
    sender = make_sender(ca_bundle=str(authority.bundle), limits=HASTY)

    def withstand(url: str, body: bytes = b"{}") -> OutcomeKind:
        for _ in range(2):
            before, began = forget_peak(), monotonic()
            outcome = sender.send(OutgoingRequest(url, {}, body))
            assert (monotonic() - began) * 1000 < GENEROUS_MS
            assert peak_memory() - before < BOUND
            assert stored(outcome) == columns(outcome)
            if not outcome.succeeded:
                break
        return outcome.kind

    return withstand


def columns(outcome: Outcome) -> tuple[object, ...]:
    *answer, timings = astuple(outcome)
    return (*answer, *timings)


def stored(outcome: Outcome) -> tuple[object, ...]:
    """An outcome that went through PostgreSQL, as the columns of an attempt have it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT %s::varchar(20), %s::smallint, %s::integer, %s::text, %s::text, %s::float8,"
            " %s::text, %s::integer, %s::integer, %s::integer, %s::integer",
            columns(outcome),
        )
        row: tuple[object, ...] = cursor.fetchone()
    return row


@each(OVER_HTTP_1)
def test_over_http_1(withstand: Withstand, behaviour: Behaviour) -> None:
    with HostileReceiver(behaviour) as receiver:
        withstand(receiver.url(host="receiver.example"))


@each(WITHOUT_READING)
def test_over_http_1_with_more_than_the_buffers_hold(
    withstand: Withstand, behaviour: Behaviour
) -> None:
    with HostileReceiver(behaviour) as receiver:
        withstand(receiver.url(host="receiver.example"), bytes(20_000_000))


@each(ON_A_HANDSHAKE)
def test_on_a_handshake(withstand: Withstand, behaviour: Behaviour) -> None:
    with HostileReceiver(behaviour) as receiver:
        kind = withstand(receiver.url(host="receiver.example", scheme="https"))
    assert kind in {OutcomeKind.TLS_FAILED, OutcomeKind.CONNECTION_FAILED, OutcomeKind.TIMED_OUT}


@each(OVER_HTTP_2)
def test_over_http_2_be_it_asked_for_or_not(
    withstand: Withstand, authority: Authority, behaviour: Behaviour
) -> None:
    tls = authority.server_context("receiver.example")
    tls.set_alpn_protocols(["h2"])
    with HostileReceiver(behaviour, tls=tls) as receiver:
        withstand(receiver.url(host="receiver.example"))
