"""One request out, one answer back; what may be repeated is, where the server is away."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util import Retry

from angarium_client.errors import Unreachable, refused

TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and between two bytes of the answer."""

PIECE = 64 * 1024
"""Bytes of a download at a time."""

REPEATED = Retry(
    total=4,
    backoff_factor=0.3,
    backoff_max=5,
    status_forcelist=(429, 502, 503, 504),
    allowed_methods=None,
    raise_on_status=False,
)
"""For requests that do no more when they are sent twice. Honours Retry-After."""

ONCE = Retry(total=0, raise_on_status=False)


class Bearer(AuthBase):
    """Shows the API key (RFC 6750, section 2.1), whatever a .netrc would have it show."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Transport:
    """Speaks JSON with the API at `url`, as whoever has the API key `key`."""

    def __init__(self, url: str, key: str) -> None:
        self.root = url.rstrip("/") + "/api/v1/"
        self._repeating = _session(key, REPEATED)
        self._once = _session(key, ONCE)

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        return self._send("GET", path, params=given(parameters or {}), repeat=True)

    def pages(self, path: str, parameters: Mapping[str, Any]) -> Iterator[Any]:
        """Each row of a list, page by page, as far as somebody asks for more."""
        page = self.get(path, parameters)
        while True:
            yield from page["results"]
            if page["next"] is None:
                return
            page = self._send("GET", page["next"], repeat=True)

    def download(self, path: str, parameters: Mapping[str, Any]) -> Iterator[bytes]:
        """An answer as it comes, however long; it is asked for at once."""
        answer = self._answer("GET", path, params=given(parameters), repeat=True, stream=True)
        return self._pieces(answer)

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        repeat: bool = False,
    ) -> Any:
        return self._send("POST", path, json=body, headers=headers, repeat=repeat)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._send("PATCH", path, json=body, repeat=True)

    def delete(self, path: str) -> None:
        self._send("DELETE", path)

    def close(self) -> None:
        self._repeating.close()
        self._once.close()

    def _pieces(self, answer: requests.Response) -> Iterator[bytes]:
        with answer:
            try:
                yield from answer.iter_content(PIECE)
            except requests.RequestException as error:
                raise Unreachable(f"{self.root} broke off in the midst: {error}") from error

    def _send(self, method: str, path: str, **options: Any) -> Any:
        return _parsed(self._answer(method, path, **options))

    def _answer(
        self, method: str, path: str, *, repeat: bool = False, **options: Any
    ) -> requests.Response:
        session = self._repeating if repeat else self._once
        url = path if path.startswith(self.root) else self.root + path
        try:
            # A redirect would be to another server: the key is for this one alone.
            answer = session.request(method, url, timeout=TIMEOUT, allow_redirects=False, **options)
        except requests.RequestException as error:
            raise Unreachable(f"{self.root} does not answer: {error}") from error
        if not 200 <= answer.status_code < 300:
            raise refused(answer.status_code, _parsed(answer), answer.headers.get("Retry-After"))
        return answer


def _session(key: str, retries: Retry) -> requests.Session:
    session = requests.Session()
    session.auth = Bearer(key)
    session.headers["Accept"] = "application/json"
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retries))
    return session


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What was not left out; times as text."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in parameters.items()
        if value is not None
    }


def _parsed(answer: requests.Response) -> Any:
    try:
        return answer.json() if answer.content else None
    except ValueError:
        return None
