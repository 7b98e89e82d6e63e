import io
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.event_lines import BadLine, Line, WrittenEvent, parse, read_lines


def read(content: bytes, limit: int = 100) -> list[Line]:
    return list(read_lines(io.BytesIO(content), limit=limit))


def test_lines_are_numbered_as_editors_do_and_blank_ones_are_left_out() -> None:
    assert read(b'\n{"a": 1}\r\n \t\r\n{"b": 2}') == [
        Line(2, b'{"a": 1}\r\n'),
        Line(4, b'{"b": 2}'),
    ]


def test_a_byte_order_mark_is_dropped_at_the_start_and_nowhere_else() -> None:
    assert read(b"\xef\xbb\xbf1\n\xef\xbb\xbf2\n") == [Line(1, b"1\n"), Line(2, b"\xef\xbb\xbf2\n")]
    assert read(b"\xef\xbb\xbf\n") == []


@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b""))),
    st.integers(4, 20),
    st.booleans(),
)
def test_a_line_longer_than_the_limit_is_named_and_the_next_begins_where_it_should(
    lines: list[bytes], limit: int, ends_with_newline: bool
) -> None:
    content = b" " + b"\n".join(lines) + b"\n" * ends_with_newline
    expected = [
        (number, None if len(line) > limit else line)
        for number, line in enumerate(content.split(b"\n"), 1)
        if len(line) > limit or line.strip()
    ]
    assert [
        (line.number, line.text and line.text.removesuffix(b"\n")) for line in read(content, limit)
    ] == expected


def test_never_more_than_the_limit_is_read_at_once() -> None:
    class Stream(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            assert size == 101
            return super().readline(size)

    assert list(read_lines(Stream(b"x" * 100_000 + b"\n1"), limit=100)) == [
        Line(1, None),
        Line(2, b"1"),
    ]


def test_a_line_says_what_emit_takes() -> None:
    assert parse(b'{"type": "invoice.paid", "data": null}') == WrittenEvent("invoice.paid", None)
    assert parse(
        '{"type": "invoice.paid", "data": {"city": "اصفهان"}, "subscriber": "sub_1", '
        '"channels": ["eu"], '
        '"idempotency_key": "k", "ordering_key": "o", '
        '"occurred_at": "2026-01-31T12:00:00Z"}'.encode()
    ) == WrittenEvent(
        type="invoice.paid",
        data={"city": "اصفهان"},
        subscriber="sub_1",
        channels=["eu"],
        idempotency_key="k",
        ordering_key="o",
        occurred_at=datetime(2026, 1, 31, 12, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "not JSON: Expecting property name enclosed in double quotes (column 2)"),
        (b"'a'", "not JSON: Expecting value (column 1)"),
        (b"\xef\xbb\xbf{}", "not JSON: Unexpected UTF-8 BOM"),
        (b'{"type": "\xff"}', "not UTF-8 (byte 11)"),
        ('{"type": "a"}'.encode("utf-16"), "not UTF-8 (byte 1)"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 10_000, "a number that is too long"),
        (b'["invoice.paid", {}]', "not a JSON object"),
        (b"{}", "no 'type'"),
        (b'{"type": "a"}', "no 'data'"),
        (b'{"data": 1}', "no 'type'"),
        (b'{"type": "a", "data": 1, "dta": 1}', "'dta' is unknown"),
        (b'{"type": 1, "data": 1}', "'type' is not a string"),
        (b'{"type": null, "data": 1}', "'type' is not a string"),
        (b'{"type": "a", "data": 1, "subscriber": 7}', "'subscriber' is not a string"),
        (b'{"type": "a", "data": 1, "idempotency_key": []}', "'idempotency_key' is not a string"),
        (b'{"type": "a", "data": 1, "channels": "eu"}', "'channels' is not a list"),
        (b'{"type": "a", "data": 1, "channels": null}', "'channels' is not a list"),
        (b'{"type": "a", "data": 1, "ordering_key": 1}', "'ordering_key' is not a string"),
        (b'{"type": "a", "data": 1, "occurred_at": 1767182400}', "'occurred_at' is not a string"),
        (b'{"type": "a", "data": 1, "occurred_at": "today"}', "'today', which is no time"),
        (b'{"type": "a", "data": 1, "occurred_at": "2026-01-31T12:00:00"}', "no time with a zone"),
    ],
)
def test_a_bad_line_is_refused_with_its_reason(text: bytes, reason: str) -> None:
    with pytest.raises(BadLine, match=re.escape(reason)):
        parse(text)
