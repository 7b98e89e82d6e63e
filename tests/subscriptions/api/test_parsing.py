import json

import pytest
from rest_framework.test import APIClient

from subscriptions.api.parsing import MAX_BODY_BYTES, MAX_DEPTH
from subscriptions.models import EventType
from tests.api_client import faults

EVENT_TYPES = "/api/v1/event-types/"


def nested(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    """A list (or object) in a list in a list …, inside of an object: so many levels in all."""
    inside = levels - 1
    return f'{{"name": {opening * inside}1{closing * inside}}}'.encode()


def post(api: APIClient, body: bytes, content_type: str = "application/json") -> tuple[int, str]:
    response = api.post(EVENT_TYPES, body, content_type=content_type)
    assert not EventType.objects.exists()
    return response.status_code, json.dumps(response.json())


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "Expecting property name"),
        (b"nonsense", "Expecting value"),
        (b'{"name": "a"} x', "Extra data"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"name": "\xff"}', "can't decode byte 0xff"),
        ('{"name": "a"}'.encode("utf-16"), "can't decode"),
        (b'{"name": "\xed\xa0\x80"}', "can't decode"),
        (b'{"name": "\\ud800"}', "surrogates not allowed"),
        (b'{"\\udfff": 1}', "surrogates not allowed"),
        (b'{"name": NaN}', "not JSON compliant"),
        (b'{"name": -Infinity}', "not JSON compliant"),
        (b'{"name": 1e999}', "not JSON compliant"),
        (b'{"name": %s}' % (b"1" * 5000), "4300 digits"),
        (b'{"name": "a\nb"}', "control character"),
        (nested(MAX_DEPTH + 1), "nested too deeply"),
        (nested(MAX_DEPTH + 1, '{"a":', "}"), "nested too deeply"),
        (nested(100_000), "nested too deeply"),
        (nested(100_000, '{"a":', "}"), "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_not_proper_json_is_refused_and_told_why(
    api: APIClient, body: bytes, why: str
) -> None:
    status, answer = post(api, body)
    assert status == 400
    assert why in answer
    assert len(answer) < 300


def test_a_body_may_be_as_deep_as_the_limit(api: APIClient) -> None:
    response = api.post(EVENT_TYPES, nested(MAX_DEPTH), content_type="application/json")
    assert (response.status_code, faults(response)) == (400, ["name"])


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"text"'])
def test_a_body_that_is_no_object_is_refused(api: APIClient, body: bytes) -> None:
    assert post(api, body)[0] == 400


def test_a_nul_is_refused_where_it_cannot_be_stored(api: APIClient) -> None:
    response = api.post(EVENT_TYPES, {"name": "a", "description": "a\0b"})
    assert (response.status_code, faults(response)) == (400, ["description"])


def test_a_body_over_the_limit_is_refused_and_one_at_the_limit_is_read(api: APIClient) -> None:
    body = b'{"name": "a b"}'
    padding = b" " * (MAX_BODY_BYTES - len(body))
    assert post(api, body + padding)[0] == 400
    assert post(api, body + padding + b" ")[0] == 413


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"],
)
def test_a_body_of_another_kind_than_json_is_refused(api: APIClient, content_type: str) -> None:
    assert post(api, b'{"name": "a"}', content_type)[0] == 415


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "nonsense"])
def test_a_body_is_utf_8_whatever_its_charset_says(api: APIClient, charset: str) -> None:
    body = '{"name": "a", "description": "é"}'.encode()
    response = api.post(EVENT_TYPES, body, content_type=f"application/json; charset={charset}")
    assert (response.status_code, response.json()["description"]) == (201, "é")
