"""The way in, as a web server calls it."""

import encodings
import json
import pkgutil
from io import BytesIO
from typing import Any

import pytest

from config.wsgi import application, in_utf8

CODECS = sorted(module.name for module in pkgutil.iter_modules(encodings.__path__))

pytestmark = pytest.mark.django_db


def call(content_type: str, query: str = "a=%FF&b=x") -> tuple[str, dict[str, str], Any]:
    started: list[Any] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/api/v1/subscribers/",
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "CONTENT_TYPE": content_type,
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
    }
    body = b"".join(application(environ, lambda *answer: started.extend(answer)))  # type: ignore[arg-type]
    status, headers = started
    return status, dict(headers), json.loads(body)


@pytest.mark.parametrize("charset", [*CODECS, "nonsense", "é", "a\0b", "''", '"'])
def test_whatever_charset_a_request_claims_it_is_answered(charset: str) -> None:
    status, headers, body = call(f"application/json; charset={charset}")
    assert status.startswith("401")
    assert headers["X-Request-ID"] == body["request_id"]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset*=bz2_codec''bz2_codec",
        "application/json; charset*=nonsense''utf-8",
        "application/json; CHARSET=bz2_codec",
        'application/json; charset="bz2_codec"',
        ";" * 10_000,
        "",
    ],
)
def test_however_it_is_written_too(content_type: str) -> None:
    assert call(content_type)[0].startswith("401")


def test_a_query_with_too_many_fields_is_refused_whatever_the_charset() -> None:
    assert call("application/json; charset=utf-8", "a=&" * 1001)[0].startswith("400")


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ("application/json; charset=latin-1", "application/json"),
        ("multipart/form-data; boundary=a-b; charset=x", 'multipart/form-data; boundary="a-b"'),
        ("Text/Plain", "text/plain"),
    ],
)
def test_the_rest_of_the_content_type_is_passed_on(given: str, passed_on: str) -> None:
    seen = {"CONTENT_TYPE": given}
    in_utf8(lambda environ, _: [])(seen, lambda *_: lambda _: None)  # type: ignore[arg-type]
    assert seen["CONTENT_TYPE"] == passed_on
