"""What every sender promises of the credentials that a request carries."""

import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from tests.webhooks.sending.behaviours import (
    HEAD,
    OK,
    UNAUTHORIZED,
    answer,
    dripping,
    echo,
    kept_alive,
    saying,
    slowly,
    telling_who,
    waits,
)
from tests.webhooks.sending.certificates import Authority
from tests.webhooks.sending.conftest import (
    GENEROUS_MS,
    HASTY,
    PATIENT,
    HubSender,
    MakeSender,
    Send,
    curl_only,
    each,
    requests_only,
)
from tests.webhooks.sending.hostile_receiver import Behaviour, HostileReceiver, Reader, Writer
from tests.webhooks.sending.misbehaviours import (
    GOES_WITHOUT_AN_ANSWER,
    NO_TOKENS,
    NOT_HTTP,
)
from tests.webhooks.sending.token_server import CLIENT, Issuer
from webhooks.sending.credentials import ClientCertificate, ClientCredentials, Credentials
from webhooks.sending.outcome import Limits, Outcome, OutcomeKind, OutgoingRequest


class TestHeaders:
    def test_they_arrive(self, send: Send) -> None:
        credentials = Credentials(headers={"X-Tenant": "isfahan", "x-empty": ""})
        with HostileReceiver(saying(OK)) as receiver:
            send(receiver.url(), headers={"webhook-id": "evt_1"}, credentials=credentials)
        [request] = receiver.requests
        assert request.header("x-tenant") == "isfahan"
        assert request.header("x-empty") == ""
        assert request.header("webhook-id") == "evt_1"

    def test_they_are_the_next_request_s_no_more(self, make_sender: MakeSender) -> None:
        sender = make_sender()
        with HostileReceiver(kept_alive) as receiver:
            secret = Credentials(headers={"x-key": "open sesame"})
            sender.send(OutgoingRequest(receiver.url(), {}, b"{}", secret))
            sender.send(OutgoingRequest(receiver.url(), {}, b"{}"))
            sender.close()
        assert [one.header("x-key") for one in receiver.requests] == ["open sesame", None]

    @pytest.mark.parametrize("name", ["Host", "x a", "content-length"])
    def test_they_are_checked_like_all_others(self, send: Send, name: str) -> None:
        with HostileReceiver(saying(OK)) as receiver:
            outcome = send(receiver.url(), credentials=Credentials(headers={name: "open sesame"}))
            assert outcome.kind is OutcomeKind.UNRENDERABLE
            assert "sesame" not in outcome.error
            assert receiver.connections() == 0

    def test_a_response_that_repeats_them_is_kept_without_them(self, send: Send) -> None:
        credentials = Credentials(
            headers={"x-key": "open sesame", "x-mode": "test"}, secrets=("open sesame", "test")
        )
        with HostileReceiver(echo) as receiver:
            outcome = send(receiver.url(), headers={"x-other": "kept"}, credentials=credentials)
        assert "x-key: [secret]" in outcome.response_body
        assert "x-other: kept" in outcome.response_body
        assert "x-mode: test" in outcome.response_body  # too short to be one
        assert "sesame" not in outcome.response_body

    def test_headers_that_repeat_them_are_kept_without_them(self, send: Send) -> None:
        head = b"HTTP/1.1 500 No\r\nX-Echo: the key is open sesame\r\nContent-Length: 0\r\n\r\n"
        with HostileReceiver(saying(head)) as receiver:
            outcome = send(receiver.url(), credentials=Credentials(secrets=("open sesame",)))
        assert outcome.response_headers == "X-Echo: the key is [secret]\nContent-Length: 0"

    def test_one_that_is_cut_off_at_the_end_is_blotted_out_as_well(self, send: Send) -> None:
        with HostileReceiver(saying(answer(200, b"x" * 4086 + b"open sesame"))) as receiver:
            outcome = send(receiver.url(), credentials=Credentials(secrets=("open sesame",)))
        assert outcome.response_body == "x" * 4086 + "[secret]"


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def token_server(issuer: Issuer) -> Iterator[HostileReceiver]:
    with HostileReceiver(issuer) as server:
        yield server


def by_token(url: str, *, secret: str = CLIENT[1], scope: str = "") -> Credentials:
    return Credentials(
        headers={"x-tenant": "isfahan"},
        oauth2=ClientCredentials(url, CLIENT[0], secret, scope),
    )


def tokens(receiver: HostileReceiver) -> list[str | None]:
    return [request.header("authorization") for request in receiver.requests]


class TestToken:
    def test_it_is_fetched_once_and_used_until_it_expires(
        self, make_sender: MakeSender, token_server: HostileReceiver, issuer: Issuer
    ) -> None:
        sender = make_sender()
        with HostileReceiver(kept_alive) as receiver:
            credentials = by_token(token_server.url("/token"), scope="hooks.write hooks.read")
            request = OutgoingRequest(receiver.url(), {}, b"{}", credentials)
            assert [sender.send(request).status for _ in range(3)] == [200] * 3
            sender.close()
        assert issuer.forms == [
            {"grant_type": "client_credentials", "scope": "hooks.write hooks.read"}
        ]
        assert tokens(receiver) == ["Bearer token-1-"] * 3
        assert receiver.requests[0].header("x-tenant") == "isfahan"
        [asked] = token_server.requests
        assert asked.line == "POST /token HTTP/1.1"
        assert asked.header("accept") == "application/json"
        assert asked.header("content-type") == "application/x-www-form-urlencoded"
        assert asked.header("x-tenant") is None

    def test_one_that_has_expired_is_fetched_anew(
        self, make_sender: MakeSender, token_server: HostileReceiver, issuer: Issuer
    ) -> None:
        issuer.lifetime = 0
        sender = make_sender()
        with HostileReceiver(kept_alive) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}", by_token(token_server.url()))
            for _ in range(2):
                sender.send(request)
            sender.close()
        assert tokens(receiver) == ["Bearer token-1-", "Bearer token-2-"]

    def test_one_that_is_refused_is_thrown_away(
        self, make_sender: MakeSender, token_server: HostileReceiver
    ) -> None:
        async def refuse_the_first(reader: Reader, writer: Writer) -> None:
            while request := await reader.request():
                refused = request.header("authorization") == "Bearer token-1-"
                await writer.say(UNAUTHORIZED if refused else OK)

        sender = make_sender()
        with HostileReceiver(refuse_the_first) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}", by_token(token_server.url()))
            assert [sender.send(request).status for _ in range(3)] == [401, 200, 200]
            sender.close()
        assert tokens(receiver) == ["Bearer token-1-", "Bearer token-2-", "Bearer token-2-"]

    def test_each_credential_has_its_own(
        self, make_sender: MakeSender, token_server: HostileReceiver
    ) -> None:
        sender = make_sender()
        with HostileReceiver(kept_alive) as receiver:
            for scope in ("a", "b", "a"):
                credentials = by_token(token_server.url(), scope=scope)
                sender.send(OutgoingRequest(receiver.url(), {}, b"{}", credentials))
            sender.close()
        assert tokens(receiver) == ["Bearer token-1-", "Bearer token-2-", "Bearer token-1-"]

    def test_a_long_one_is_read_whole_and_kept_out_of_the_outcome(
        self, send: Send, token_server: HostileReceiver, issuer: Issuer
    ) -> None:
        issuer.padding = 9000
        with HostileReceiver(echo) as receiver:
            outcome = send(receiver.url(), credentials=by_token(token_server.url()))
        assert tokens(receiver) == [f"Bearer {issuer.issued[0]}"]
        assert "authorization: Bearer [secret]" in outcome.response_body
        assert "token-1-" not in outcome.response_body

    @pytest.mark.parametrize(
        ("sentence", "reason"),
        [
            ("issues no token but a fault of its own", "answered 500 Internal Server Error"),
            ("issues no token and tells why", "(invalid_scope)"),
            ("issues no token and tells the secret", "answered 400 Bad Request"),
            ("issues no token but a redirect", "which is not followed"),
            ("issues HTML for a token", "no access_token"),
            ("issues brackets without end for a token", "no access_token"),
            ("issues a token that splits a header", "no access_token"),
            ("issues a number for a token", "no access_token"),
            ("issues a token of 40 kB", "no access_token"),
            ("issues a token of another type", "no bearer token"),
            ("greets as an SSH server", "not HTTP"),
            ("closes after the request", "connection"),
        ],
    )
    def test_without_one_the_endpoint_is_not_asked(
        self, send: Send, sentence: str, reason: str
    ) -> None:
        behaviour = (NO_TOKENS | NOT_HTTP | GOES_WITHOUT_AN_ANSWER)[sentence]
        with HostileReceiver(saying(OK)) as receiver:
            with HostileReceiver(behaviour) as broken:
                outcome = send(receiver.url(), credentials=by_token(broken.url()))
            assert receiver.connections() == 0
        assert (outcome.kind, outcome.status) == (OutcomeKind.AUTHORIZATION_FAILED, None)
        assert outcome.error.startswith("no OAuth2 token could be fetched: ")
        assert reason in outcome.error
        assert "secret" not in outcome.error
        assert outcome.response_body == ""
        assert outcome.endpoint_failed

    def test_a_client_that_is_refused_is_told_without_its_secret(
        self, send: Send, token_server: HostileReceiver
    ) -> None:
        credentials = by_token(token_server.url(), secret="open sesame")
        outcome = send("http://127.0.0.1:9/", credentials=credentials)
        assert outcome.error.endswith("answered 401 Unauthorized (invalid_client)")

    @pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://169.254.169.254/token"])
    def test_its_url_is_judged_as_any_other(self, send: Send, url: str) -> None:
        outcome = send("http://127.0.0.1:9/", credentials=by_token(url))
        assert outcome.kind is OutcomeKind.AUTHORIZATION_FAILED
        assert "Choose a public address" in outcome.error

    def test_so_is_the_address_that_its_name_resolves_to(self, send: Send) -> None:
        credentials = by_token("http://receiver.example/token")
        outcome = send(
            "http://127.0.0.1:9/", credentials=credentials, resolve=lambda host: ["10.0.0.1"]
        )
        assert outcome.kind is OutcomeKind.AUTHORIZATION_FAILED
        assert "resolves to an address in a private network" in outcome.error

    @each({"silence": waits, "drip": dripping(b"x", after=HEAD + b"Content-Length: 9000\r\n\r\n")})
    def test_it_must_come_in_time(self, send: Send, behaviour: Behaviour) -> None:
        with HostileReceiver(behaviour) as slow:
            outcome = send("http://127.0.0.1:9/", credentials=by_token(slow.url()), limits=HASTY)
        assert outcome.kind is OutcomeKind.AUTHORIZATION_FAILED
        assert outcome.duration_ms < GENEROUS_MS

    def test_what_it_takes_is_taken_off_the_time_of_the_exchange(self, send: Send) -> None:
        """The lease of the delivery covers one timeout, not two."""
        slow_issuer = slowly(answer(200, b'{"access_token": "t"}'), seconds=0.6)
        limits = Limits(connect_timeout=2.4, timeout=2.4)
        with HostileReceiver(waits) as silent, HostileReceiver(slow_issuer) as tokens:
            outcome = send(silent.url(), credentials=by_token(tokens.url()), limits=limits)
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.duration_ms < 2200

    @curl_only
    def test_many_that_need_it_at_once_wait_for_one_fetch(
        self, make_sender: MakeSender, token_server: HostileReceiver
    ) -> None:
        sender = make_sender()
        assert isinstance(sender, HubSender)
        outcomes: list[Outcome] = []
        with HostileReceiver(kept_alive) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}", by_token(token_server.url()))
            for _ in range(20):
                sender.sender.start(request, outcomes.append)
            assert outcomes == []
            sender.run()
            sender.close()
        assert [outcome.status for outcome in outcomes] == [200] * 20
        assert len(token_server.requests) == 1

    @curl_only
    def test_a_slow_fetch_keeps_nobody_else_waiting(self, make_sender: MakeSender) -> None:
        sender = make_sender(limits=PATIENT)
        assert isinstance(sender, HubSender)
        ended: list[Outcome] = []
        with HostileReceiver(kept_alive) as receiver, HostileReceiver(waits) as silent:
            waiting = OutgoingRequest(receiver.url(), {}, b"{}", by_token(silent.url()))
            sender.sender.start(waiting, ended.append)
            assert sender.send(OutgoingRequest(receiver.url(), {}, b"{}")).status == 200
            assert ended == []
            sender.close()

    @requests_only
    def test_many_threads_that_need_it_at_once_share_one_fetch(
        self, make_sender: MakeSender, token_server: HostileReceiver
    ) -> None:
        sender = make_sender()
        together = Barrier(8)
        with HostileReceiver(kept_alive) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}", by_token(token_server.url()))

            def send(_: int) -> int | None:
                together.wait(10)
                return sender.send(request).status

            with ThreadPoolExecutor(8) as threads:
                assert list(threads.map(send, range(8))) == [200] * 8
            sender.close()
        assert len(token_server.requests) == 1


class TestClientCertificate:
    @pytest.fixture
    def send_as(
        self, make_sender: MakeSender, authority: Authority
    ) -> Callable[..., Callable[[HostileReceiver, ClientCertificate | None], Outcome]]:
        def make(**options: object) -> Callable[..., Outcome]:
            sender = make_sender(ca_bundle=str(authority.bundle), **options)

            def send(receiver: HostileReceiver, certificate: ClientCertificate | None) -> Outcome:
                url = receiver.url(host="receiver.example")
                credentials = certificate and Credentials(certificate=certificate)
                return sender.send(OutgoingRequest(url, {}, b"{}", credentials))

            return send

        return make

    def test_it_is_shown_to_who_asks(
        self, send_as: Callable[..., Callable[..., Outcome]], authority: Authority
    ) -> None:
        tls = authority.server_context("receiver.example", asks=ssl.CERT_REQUIRED)
        with HostileReceiver(telling_who, tls=tls) as receiver:
            outcome = send_as()(receiver, authority.certificate("us.example"))
        assert (outcome.status, outcome.response_body) == (200, '["us.example"]')

    @pytest.mark.parametrize("shown", ["none", "self-signed", "expired"])
    def test_without_a_good_one_nothing_is_delivered(
        self, send_as: Callable[..., Callable[..., Outcome]], authority: Authority, shown: str
    ) -> None:
        certificate = {
            "none": None,
            "self-signed": authority.certificate("us.example", self_signed=True),
            "expired": authority.certificate("us.example", expired=True),
        }[shown]
        tls = authority.server_context("receiver.example", asks=ssl.CERT_REQUIRED)
        with HostileReceiver(telling_who, tls=tls) as receiver:
            outcome = send_as()(receiver, certificate)
        # Who is refused after the handshake may find the connection gone before it reads why.
        assert outcome.kind in {OutcomeKind.TLS_FAILED, OutcomeKind.CONNECTION_FAILED}
        assert receiver.requests == []

    @pytest.mark.parametrize("keep_alive", [60.0, 0.0])
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_no_connection_or_session_of_one_client_is_used_for_another(
        self,
        send_as: Callable[..., Callable[..., Outcome]],
        authority: Authority,
        keep_alive: float,
        version: ssl.TLSVersion,
    ) -> None:
        tls = authority.server_context("receiver.example", asks=ssl.CERT_OPTIONAL)
        tls.maximum_version = version
        one, other = authority.certificate("one.example"), authority.certificate("other.example")
        send = send_as(limits=Limits(keep_alive=keep_alive))
        with HostileReceiver(telling_who, tls=tls) as receiver:
            told = [
                send(receiver, certificate).response_body
                for certificate in (one, other, None, other, one, None)
            ]
            connections = receiver.connections()
        assert told == [
            '["one.example"]',
            '["other.example"]',
            "[]",
            '["other.example"]',
            '["one.example"]',
            "[]",
        ]
        assert connections == (3 if keep_alive else 6)

    @pytest.mark.parametrize("broken", ["chain", "key"])
    def test_one_that_cannot_be_used_is_a_failure(
        self, send_as: Callable[..., Callable[..., Outcome]], authority: Authority, broken: str
    ) -> None:
        tls = authority.server_context("receiver.example", asks=ssl.CERT_OPTIONAL)
        certificate = replace(authority.certificate("us.example"), **{broken: "sesame"})
        with HostileReceiver(telling_who, tls=tls) as receiver:
            outcome = send_as()(receiver, certificate)
        assert outcome.kind is OutcomeKind.TLS_FAILED
        assert "sesame" not in outcome.error


def test_no_secret_is_in_a_repr_or_a_log(
    make_sender: MakeSender,
    token_server: HostileReceiver,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    certificate = authority.certificate("us.example")
    credentials = Credentials(
        headers={"x-key": "open sesame"},
        secrets=("open sesame",),
        certificate=certificate,
        oauth2=ClientCredentials(token_server.url(), *CLIENT),
    )
    sender = make_sender()
    with HostileReceiver(echo) as receiver:
        request = OutgoingRequest(receiver.url(), {}, b"{}", credentials)
        outcome = sender.send(request)
        sender.close()
    told = f"{request} {outcome} {vars(sender)} {outcome.error} {outcome.response_body}"
    told += caplog.text
    for secret in ("open sesame", CLIENT[1], certificate.key[40:80], "token-1-"):
        assert secret not in told
