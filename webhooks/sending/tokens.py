"""OAuth2 access tokens by client credentials (RFC 6749 4.4), for whichever sender.

A token is fetched once at a time for all who need it, and kept until shortly before it expires.
"""

import json
import logging
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from time import monotonic
from urllib.parse import quote_plus, urlencode

from webhooks.sending.credentials import ClientCredentials, Credentials
from webhooks.sending.outcome import Outcome, OutcomeKind, OutgoingRequest, failed

logger = logging.getLogger(__name__)

MAX_TOKENS = 10_000
MAX_RESPONSE_BYTES = 32 * 1024
MARGIN = 30.0
"""Seconds before its end from which a token is not used; half its life, if that is shorter."""
UNTOLD_LIFETIME = 300.0
"""Seconds that a token lives whose server does not say (RFC 6749 5.1)."""
MAX_LIFETIME = 24 * 3600.0

# RFC 6750 2.1 says less, and servers do not keep to it.
_TOKEN = re.compile(r"[!-~]{1,16384}")
# RFC 6749 5.2. Any other word is not told: it might be the secret.
_ERRORS = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and until when to use it, on the monotonic clock."""

    text: str = field(repr=False)
    usable_until: float


class NoToken(Exception):
    """An answer holds no token that can be used; the message says why, and holds no secret."""


Answer = Token | Outcome
"""A token, or the outcome of an attempt that cannot be made without one."""

Start = Callable[[OutgoingRequest, Callable[[Outcome], None]], None]
"""Sends a request and tells what came of it, at once or later."""


class Tokens:
    """Gets tokens through `start`, each within `timeout` seconds. It is thread-safe."""

    def __init__(self, start: Start, *, timeout: float) -> None:
        self._start = start
        self._timeout = timeout
        self._lock = Lock()
        self._kept: dict[ClientCredentials, Token] = {}
        self._waiting: dict[ClientCredentials, list[Callable[[Answer], None]]] = {}

    def get(self, credentials: ClientCredentials, done: Callable[[Answer], None]) -> None:
        """Tell `done` a token: at once if there is one, otherwise when it has been fetched."""
        with self._lock:
            token = self._kept.get(credentials)
            if token is not None and token.usable_until <= monotonic():
                token = None
            fetching = token is None and credentials in self._waiting
            if token is None:
                self._waiting.setdefault(credentials, []).append(done)
        if token is not None:
            done(token)
        elif not fetching:
            self._fetch(credentials)

    def forget(self, credentials: ClientCredentials, token: Token) -> None:
        """Use a token no more that was refused."""
        with self._lock:
            if self._kept.get(credentials) is token:
                del self._kept[credentials]

    def _fetch(self, credentials: ClientCredentials) -> None:
        request = token_request(credentials, timeout=self._timeout)
        try:
            self._start(request, partial(self._fetched, credentials, monotonic()))
        except BaseException:
            self._tell(credentials, _failed("its fetch was broken off"))
            raise

    def _fetched(self, credentials: ClientCredentials, asked_at: float, outcome: Outcome) -> None:
        try:
            answer: Answer = read_token(outcome, asked_at=asked_at)
        except NoToken as error:
            # A proxy that fails is no more the endpoint's fault here than it is in a delivery.
            ours = outcome.kind is OutcomeKind.PROXY_FAILED
            kind = outcome.kind if ours else OutcomeKind.AUTHORIZATION_FAILED
            answer = _failed(str(error), kind=kind, duration_ms=outcome.duration_ms)
        self._tell(credentials, answer)

    def _tell(self, credentials: ClientCredentials, answer: Answer) -> None:
        with self._lock:
            waiting = self._waiting.pop(credentials, [])
            self._kept.pop(credentials, None)
            if isinstance(answer, Token):
                while len(self._kept) >= MAX_TOKENS:
                    del self._kept[next(iter(self._kept))]
                self._kept[credentials] = answer
        for done in waiting:
            try:
                done(answer)
            except Exception:
                logger.exception("an exchange that waited for a token could not go on")


def token_request(credentials: ClientCredentials, *, timeout: float) -> OutgoingRequest:
    """What asks for a token; the client shows itself by Basic (RFC 6749 2.3.1)."""
    pair = f"{quote_plus(credentials.client_id)}:{quote_plus(credentials.client_secret)}"
    form = {"grant_type": "client_credentials"}
    if credentials.scope:
        form["scope"] = credentials.scope
    return OutgoingRequest(
        url=credentials.token_url,
        headers={
            "accept": "application/json",
            "content-type": "application/x-www-form-urlencoded",
        },
        body=urlencode(form).encode(),
        credentials=Credentials(
            headers={"authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        ),
        timeout=timeout,
        kept_response_bytes=MAX_RESPONSE_BYTES,
    )


def read_token(outcome: Outcome, *, asked_at: float) -> Token:
    """The token in what came of a token request (RFC 6749 5.1). Raises NoToken."""
    try:
        document = json.loads(outcome.response_body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        document = {}
    if not outcome.succeeded:
        code = document.get("error")
        known = isinstance(code, str) and code in _ERRORS
        raise NoToken(f"{outcome.error} ({code})" if known else outcome.error)
    token = document.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise NoToken("the answer holds no access_token")
    if str(document.get("token_type", "Bearer")).lower() != "bearer":
        raise NoToken("the token is no bearer token")
    lifetime = _lifetime(document.get("expires_in"))
    return Token(token, asked_at + lifetime - min(MARGIN, lifetime / 2))


def _lifetime(expires_in: object) -> float:
    if isinstance(expires_in, int | float | str):
        try:
            # In this order NaN, which is less than nothing, becomes the longest.
            return max(0.0, min(MAX_LIFETIME, float(expires_in)))
        except (ValueError, OverflowError):
            pass
    return UNTOLD_LIFETIME


def _failed(
    error: str, *, kind: OutcomeKind = OutcomeKind.AUTHORIZATION_FAILED, duration_ms: int = 0
) -> Outcome:
    return failed(kind, f"no OAuth2 token could be fetched: {error}", duration_ms=duration_ms)


def authorized(request: OutgoingRequest, token: Token, *, timeout: float) -> OutgoingRequest:
    """The same request with the token that it wants, to be answered within `timeout` seconds."""
    credentials = request.credentials or Credentials()
    return replace(
        request,
        credentials=replace(
            credentials,
            headers={**credentials.headers, "authorization": f"Bearer {token.text}"},
            secrets=(*credentials.secrets, token.text),
            oauth2=None,
        ),
        timeout=timeout,
    )
