import json
import math
from collections import OrderedDict
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.payloads import InvalidPayload, encode, envelope

LIMIT = 256 * 1024
NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]))
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


def nested(levels: int) -> Any:
    data: Any = 0
    for _ in range(levels):
        data = [data]
    return data


@given(documents)
def test_any_json_comes_out_as_it_went_in(data: Any) -> None:
    body = envelope("invoice.paid", NOON, encode(data, max_bytes=LIMIT))
    assert json.loads(body) == {
        "type": "invoice.paid",
        "timestamp": "2026-07-01T12:00:00Z",
        "data": data,
    }


@given(documents)
def test_encoding_what_was_encoded_changes_nothing(data: Any) -> None:
    text = encode(data, max_bytes=LIMIT)
    assert encode(json.loads(text), max_bytes=LIMIT) == text


def test_the_text_is_as_small_as_it_can_be() -> None:
    assert (
        encode({"name": "Ксеркс ✓", "n": [1, 2]}, max_bytes=LIMIT)
        == '{"name":"Ксеркс ✓","n":[1,2]}'
    )


def test_tuples_and_subclasses_pass_for_what_they_are() -> None:
    class Count(int):
        pass

    data = OrderedDict(points=(1, Count(2)))
    assert encode(data, max_bytes=LIMIT) == '{"points":[1,2]}'


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (math.nan, "$ is nan"),
        ({"a": [1, {"b": math.inf}]}, "$.a[1].b is inf"),
        ([-math.inf], "$[0] is -inf"),
        (b"bytes", "$ is a bytes"),
        ({"at": NOON}, "$.at is a datetime"),
        ({"price": Decimal("1.5")}, "$.price is a Decimal"),
        ([[{1, 2}]], "$[0][0] is a set"),
        ({"a": {1: "one"}}, "$.a has the key '1', a int"),
        ({None: 1}, "$ has the key 'None'"),
        ({True: 1}, "$ has the key 'True'"),
        ({"name": "\ud800"}, "$.name holds a lone surrogate"),
        ({"a": {"\udfff": 1}}, "a key of $.a holds a lone surrogate"),
        pytest.param(10**5000, "$ is not JSON", id="a number of 5,001 digits"),
        ("x" * LIMIT, f"$ has {LIMIT + 2} bytes"),
        ("ä" * (LIMIT // 2), f"$ has {LIMIT + 2} bytes"),
    ],
)
def test_what_is_no_json_is_refused_with_the_place_and_the_reason(data: Any, told: str) -> None:
    with pytest.raises(InvalidPayload) as refused:
        encode(data, max_bytes=LIMIT)
    assert told in str(refused.value)


def test_depth_is_bounded_and_deeper_data_is_told_whatever_its_depth() -> None:
    encode(nested(64), max_bytes=LIMIT)
    for levels in (65, 100_000):
        with pytest.raises(InvalidPayload, match="more than 64 levels deep"):
            encode(nested(levels), max_bytes=LIMIT)


def test_data_that_holds_itself_is_too_deep() -> None:
    data: dict[str, Any] = {}
    data["self"] = data
    with pytest.raises(InvalidPayload, match=r"^\$\.self\.self.*more than 64 levels"):
        encode(data, max_bytes=LIMIT)


@pytest.mark.parametrize(
    ("moment", "timestamp"),
    [
        (NOON, "2026-07-01T12:00:00Z"),
        (NOON.replace(microsecond=5000), "2026-07-01T12:00:00.005000Z"),
        (NOON.astimezone(timezone(timedelta(hours=3, minutes=30))), "2026-07-01T12:00:00Z"),
    ],
)
def test_the_timestamp_is_in_utc(moment: datetime, timestamp: str) -> None:
    assert json.loads(envelope("a", moment, "null"))["timestamp"] == timestamp
