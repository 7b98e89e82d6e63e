"""The sender that uses requests: one exchange at a time, from any thread."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from webhooks.addresses import AddressPolicy, InvalidEndpointUrl, Target, parse_url
from webhooks.sending.adapter import ExchangeTimeout, GuardedAdapter, as_failure
from webhooks.sending.credentials import Credentials
from webhooks.sending.dialing import Dialer
from webhooks.sending.exchange import Deadline, Exchange
from webhooks.sending.headers import InvalidHeader, check_headers
from webhooks.sending.names import Resolve, resolve
from webhooks.sending.outcome import (
    REDACTION,
    Limits,
    Outcome,
    OutcomeKind,
    OutgoingRequest,
    answered,
    blotted,
    failed,
    redacted,
)
from webhooks.sending.proxy import EgressProxy
from webhooks.sending.tokens import Answer, Tokens, authorized
from webhooks.sending.tunnel import TunnelDialer


@dataclass(slots=True)
class SeenHeaders:
    """The headers of an exchange for a person to see: what credentials sent is blotted out."""

    request: dict[str, str] = field(default_factory=dict)
    response: dict[str, str] = field(default_factory=dict)

    def note_request(self, url: str, headers: Mapping[str, str], credentials: Credentials) -> None:
        hidden = {name.lower() for name in credentials.headers}
        shown = {
            name: REDACTION if name.lower() in hidden else value for name, value in headers.items()
        }
        self.request = {"Host": urlsplit(url).netloc, **shown}

    def note_response(self, headers: Mapping[str, str], credentials: Credentials) -> None:
        self.response = {
            name: blotted(value, credentials.secrets) for name, value in headers.items()
        }


class RequestsSender:
    """POSTs requests over kept-alive connections that all threads share.

    It is built on requests' adapter without a Session, which would bring cookies, proxies and
    .netrc from the environment, and would read a redirect's whole body even if it is not followed.

    `ca_bundle` is a PEM file of certificates to trust in place of certifi's. With a `proxy` the
    addresses that a name has are the proxy's to judge.
    """

    def __init__(
        self,
        *,
        policy: AddressPolicy,
        limits: Limits,
        user_agent: str,
        ca_bundle: str | None = None,
        proxy: EgressProxy | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        ca_bundle = ca_bundle or DEFAULT_CA_BUNDLE_PATH
        self._policy = policy
        self._limits = limits
        self._user_agent = user_agent
        self._dialer = (
            Dialer(policy, timeout=limits.connect_timeout, resolve=resolve)
            if proxy is None
            else TunnelDialer(
                proxy, limits=limits, user_agent=user_agent, ca_bundle=ca_bundle, resolve=resolve
            )
        )
        self._adapter = GuardedAdapter(
            self._dialer, ca_bundle=ca_bundle, keep_alive=limits.keep_alive
        )
        # A token takes half the time at most, which leaves the other half to those who wait for it.
        self._tokens = Tokens(self._start, timeout=limits.timeout / 2)

    def send(self, request: OutgoingRequest, seen: SeenHeaders | None = None) -> Outcome:
        """POST, and tell what came of it: whatever goes wrong is an outcome, not an exception.

        The headers are noted in `seen`, as far as it comes to them.
        """
        grant = request.credentials and request.credentials.oauth2
        if not grant:
            return self._post(request, seen)
        began = monotonic()
        answer: Future[Answer] = Future()
        self._tokens.get(grant, answer.set_result)
        token = answer.result()
        if isinstance(token, Outcome):
            return token
        left = self._limits.timeout - (monotonic() - began)
        outcome = self._post(authorized(request, token, timeout=left), seen)
        if outcome.status == 401:
            self._tokens.forget(grant, token)
        return outcome

    def close(self) -> None:
        """Close all connections; the sender sends nothing any more."""
        self._adapter.close()
        self._dialer.close()

    def _start(self, request: OutgoingRequest, done: Callable[[Outcome], None]) -> None:
        done(self._post(request))

    def _post(self, request: OutgoingRequest, seen: SeenHeaders | None = None) -> Outcome:
        started = monotonic()
        credentials = request.credentials or Credentials()
        limits = self._limits
        timeout = limits.timeout if request.timeout is None else request.timeout
        exchange = Exchange(Deadline(timeout), max_received=limits.max_header_bytes)

        def taken() -> dict[str, Any]:
            elapsed = round((monotonic() - started) * 1000)
            return {"duration_ms": elapsed, "timings": exchange.stopwatch.timings()}

        try:
            target = parse_url(request.url, self._policy)
            check_headers(request.headers)
            check_headers(credentials.headers)
            response, body = self._exchange(target, request, credentials, seen, exchange)
        except InvalidEndpointUrl as error:
            return failed(OutcomeKind.ADDRESS_REFUSED, str(error), **taken())
        except InvalidHeader as error:
            return failed(OutcomeKind.UNRENDERABLE, str(error), **taken())
        except Exception as error:
            failure = as_failure(error)
            return failed(failure.kind, failure.error, **taken())
        outcome = answered(
            response.status_code,
            body=body,
            headers=(f"{name}: {value}" for name, value in response.raw.headers.iteritems()),
            retry_after=response.headers.get("retry-after"),
            **taken(),
            now=datetime.now(UTC),
        )
        return redacted(outcome, credentials.secrets)

    def _exchange(
        self,
        target: Target,
        request: OutgoingRequest,
        credentials: Credentials,
        seen: SeenHeaders | None,
        exchange: Exchange,
    ) -> tuple[requests.Response, bytes]:
        prepared = requests.Request(
            "POST",
            target.url,
            headers={
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "User-Agent": self._user_agent,
                **credentials.headers,
                **request.headers,
            },
            data=request.body,
        ).prepare()
        # requests decodes some of the escapes; the URL is to arrive as it was registered.
        prepared.url = target.url
        if seen is not None:
            seen.note_request(target.url, prepared.headers, credentials)
        response = self._adapter.send(
            prepared,
            stream=True,
            timeout=ExchangeTimeout(exchange, exchange.deadline.seconds_left()),  # type: ignore[arg-type]
            cert=credentials.certificate,  # type: ignore[arg-type]
        )
        if seen is not None:
            seen.note_response(response.headers, credentials)
        exchange.max_received = exchange.received + self._limits.max_response_bytes
        kept = request.kept_response_bytes or self._limits.kept_response_bytes
        return response, self._read(response)[:kept]

    def _read(self, response: requests.Response) -> bytes:
        """The body as far as it comes: the status stands, whatever is wrong with the rest.

        A body read to its end leaves the connection for the next request; any other closes it.
        """
        body = bytearray()
        limit = self._limits.max_response_bytes
        with suppress(Exception):
            while piece := response.raw.read1(limit - len(body), decode_content=False):
                body += piece
        response.close()
        return bytes(body)
