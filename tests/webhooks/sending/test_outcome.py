from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.sending.outcome import (
    MAX_ERROR_LENGTH,
    MAX_RETRY_AFTER,
    Outcome,
    OutcomeKind,
    answered,
    failed,
    kind_of,
    parse_retry_after,
    redacted,
)

NOW = datetime(1994, 11, 6, 8, 49, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        (range(100, 200), OutcomeKind.RESPONSE_INVALID),
        (range(200, 300), OutcomeKind.DELIVERED),
        (range(300, 400), OutcomeKind.REDIRECTED),
        (range(400, 1000), OutcomeKind.REJECTED),
    ],
)
def test_only_2xx_is_delivered(statuses: range, kind: OutcomeKind) -> None:
    assert {kind_of(status) for status in statuses} == {kind}


@pytest.mark.parametrize(
    ("kind", "blamed"),
    [
        (OutcomeKind.DELIVERED, False),
        (OutcomeKind.INTERRUPTED, False),
        (OutcomeKind.UNRENDERABLE, False),
        (OutcomeKind.REJECTED, True),
        (OutcomeKind.TIMED_OUT, True),
        (OutcomeKind.ADDRESS_REFUSED, True),
    ],
)
def test_an_endpoint_is_blamed_for_its_own_faults_only(kind: OutcomeKind, blamed: bool) -> None:
    outcome = Outcome(kind)
    assert outcome.endpoint_failed is blamed
    assert outcome.succeeded is (kind is OutcomeKind.DELIVERED)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, ""),
        (404, "answered 404 Not Found"),
        (308, "answered 308 Permanent Redirect, which is not followed"),
        (799, "answered 799"),
    ],
)
def test_the_error_tells_the_status(status: int, error: str) -> None:
    outcome = answered(status, body=b"", headers=(), retry_after=None, duration_ms=1, now=NOW)
    assert outcome.error == error


@given(st.binary(max_size=200))
def test_any_body_can_be_stored(body: bytes) -> None:
    outcome = answered(200, body=body, headers=(), retry_after=None, duration_ms=1, now=NOW)
    assert "\0" not in outcome.response_body
    outcome.response_body.encode()


@given(st.lists(st.binary(max_size=200).map(lambda header: header.decode("latin-1"))))
def test_any_headers_become_storable_lines(headers: list[str]) -> None:
    outcome = answered(500, body=b"", headers=headers, retry_after=None, duration_ms=1, now=NOW)
    assert "\0" not in outcome.response_headers
    assert outcome.response_headers.count("\n") < max(len(headers), 1)


@given(st.text(st.characters(exclude_categories=()), max_size=1000))
def test_any_error_becomes_one_storable_line(text: str) -> None:
    error = failed(OutcomeKind.CONNECTION_FAILED, text, duration_ms=1).error
    assert len(error) <= MAX_ERROR_LENGTH
    assert error.isprintable()
    error.encode()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("120", 120.0),
        (" 120\t", 120.0),
        ("9" * 5000, MAX_RETRY_AFTER),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 37.0),
        ("Sun Nov  6 08:49:37 1994", 37.0),
        ("Sun, 06 Nov 1994 08:48:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("1, 2", None),
        ("٣", None),
        ("soon", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(
    value: str | None, seconds: float | None
) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text() | st.datetimes().map("{:%a, %d %b %Y %H:%M:%S GMT}".format), st.datetimes())
def test_retry_after_is_bounded_or_ignored(value: str, now: datetime) -> None:
    seconds = parse_retry_after(value, now.replace(tzinfo=UTC))
    assert seconds is None or 0 <= seconds <= timedelta(days=30).total_seconds()


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("nothing", "nothing"),
        ("swordfish", "[secret]"),
        ("a swordfish, a swordfish and a sword", "a [secret], a [secret] and a sword"),
        ("a swordfis", "a [secret]"),
        ("a swordf", "a [secret]"),
        ("a sword", "a sword"),  # too little to be of use
        ("swordfi swordfi", "swordfi [secret]"),
        ("swordfiswordfi", "swordfi[secret]"),
        ("test", "test"),
    ],
)
def test_secrets_are_blotted_out_of_what_is_kept_of_a_response(body: str, kept: str) -> None:
    outcome = Outcome(OutcomeKind.REJECTED, 500, response_body=body, response_headers=body)
    without = redacted(outcome, ("swordfish", "test", ""))
    assert (without.response_body, without.response_headers) == (kept, kept)
    assert redacted(outcome, ()) is outcome
