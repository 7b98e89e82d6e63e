"""What every sender promises where there is an egress proxy."""

import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.webhooks.sending import misbehaviours
from tests.webhooks.sending.behaviours import (
    OK,
    answer,
    dripping,
    forever,
    kept_alive,
    saying,
    telling_who,
    waits,
)
from tests.webhooks.sending.certificates import Authority
from tests.webhooks.sending.conftest import (
    FULL_BUFFERS,
    GENEROUS_MS,
    HASTY,
    MakeSender,
    Send,
    each,
)
from tests.webhooks.sending.connect_proxy import ConnectProxy
from tests.webhooks.sending.hostile_receiver import Behaviour, HostileReceiver, deaf_address
from tests.webhooks.sending.token_server import CLIENT, Issuer
from webhooks.addresses import AddressPolicy
from webhooks.sending.credentials import ClientCredentials, Credentials
from webhooks.sending.outcome import OutcomeKind, OutgoingRequest, Timings
from webhooks.sending.proxy import EgressProxy, InvalidEgressProxy

BASIC = f"Basic {b64encode(b'us:open: s@same').decode()}"


@pytest.fixture
def proxy() -> Iterator[ConnectProxy]:
    with ConnectProxy() as proxy:
        yield proxy


def unresolved(host: str) -> list[str]:
    """The names of endpoints are the proxy's to look up."""
    pytest.fail(f"looked {host} up")


def through(proxy: ConnectProxy | HostileReceiver, **options: Any) -> dict[str, Any]:
    return {"proxy": EgressProxy.parse(proxy.url("")), "resolve": unresolved, **options}


class TestUrl:
    @pytest.mark.parametrize(
        ("url", "proxy"),
        [
            ("http://proxy:3128", EgressProxy("http", "proxy", 3128)),
            ("HTTPS://Proxy.example/", EgressProxy("https", "proxy.example", 443)),
            ("http://10.0.0.1:81/", EgressProxy("http", "10.0.0.1", 81)),
            ("http://[fd00::1]:3128", EgressProxy("http", "fd00::1", 3128)),
            ("http://us:open%3A%20s%40same@proxy", EgressProxy("http", "proxy", 80, BASIC)),
            (
                "http://us@proxy:1",
                EgressProxy("http", "proxy", 1, f"Basic {b64encode(b'us:').decode()}"),
            ),
        ],
    )
    def test_it_may_be_anywhere_and_ask_for_a_password(self, url: str, proxy: EgressProxy) -> None:
        assert EgressProxy.parse(url) == proxy

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "proxy:3128",
            "socks5://sesame@proxy:3128",
            "http://",
            "http://sesame@",
            "http://:sesame@proxy",
            "http://us:ses@ame@proxy",
            "http://us:ses/ame@proxy",
            "http://us%3Ax:sesame@proxy",
            "http://us:sesame%0D%0AX:1@proxy",
            "http://us:sesame%FF@proxy",
            "http://us:sesame@proxy:0",
            "http://us:sesame@proxy:port",
            "http://us:sesame@proxy/path",
            "http://us:sesame@proxy?query",
            "http://us:sesame@pro xy\r\n",
        ],
    )
    def test_anything_else_is_refused_without_repeating_it(self, url: str) -> None:
        with pytest.raises(InvalidEgressProxy, match="Write the egress proxy as") as refusal:
            EgressProxy.parse(url)
        assert "sesame" not in str(refusal.value)
        assert refusal.value.__context__ is None or refusal.value.__suppress_context__

    def test_its_password_is_in_no_repr(self) -> None:
        proxy = EgressProxy.parse("http://us:open%3A%20s%40same@proxy:3128")
        assert BASIC[6:] not in repr(proxy)
        assert proxy.url == "http://proxy:3128"


class TestTunnel:
    @pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
    @pytest.mark.parametrize("proxy_secure", [False, True], ids=["http proxy", "https proxy"])
    def test_every_request_goes_through_one_and_the_proxy_looks_the_name_up(
        self, make_sender: MakeSender, authority: Authority, secure: bool, proxy_secure: bool
    ) -> None:
        tls = authority.server_context("tunnelled.example") if secure else None
        proxy_tls = authority.server_context("127.0.0.1") if proxy_secure else None
        body = bytes(range(256)) * 1000
        with (
            ConnectProxy(tls=proxy_tls) as proxy,
            HostileReceiver(kept_alive, tls=tls) as receiver,
        ):
            sender = make_sender(**through(proxy, ca_bundle=str(authority.bundle)))
            url = receiver.url("/in?a=1", host="tunnelled.example")
            outcomes = [sender.send(OutgoingRequest(url, {"x-a": "1"}, body)) for _ in range(3)]
            assert receiver.connections() == 1
            sender.close()
        assert [(outcome.kind, outcome.response_body) for outcome in outcomes] == [
            (OutcomeKind.DELIVERED, "ok")
        ] * 3
        for request in receiver.requests:
            assert request.line == "POST /in?a=1 HTTP/1.1"
            assert request.header("host") == f"tunnelled.example:{receiver.port}"
            assert request.header("x-a") == "1"
            assert request.body == body
        [head] = proxy.heads
        place = f"tunnelled.example:{receiver.port}"
        assert head.startswith(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n")

    def test_the_proxy_is_shown_nothing_of_the_request(
        self, send: Send, authority: Authority, proxy: ConnectProxy
    ) -> None:
        tls = authority.server_context("tunnelled.example")
        with HostileReceiver(saying(OK), tls=tls) as receiver:
            send(
                receiver.url("/hook?token=sesame", host="tunnelled.example"),
                body=b"sesame",
                headers={"webhook-id": "sesame"},
                credentials=Credentials(headers={"authorization": "Bearer sesame"}),
                **through(proxy, ca_bundle=str(authority.bundle)),
            )
        assert receiver.requests[0].header("authorization") == "Bearer sesame"
        [head] = proxy.heads
        names = {line.partition(":")[0].lower() for line in head.split("\r\n")[1:-2]}
        assert names <= {"host", "user-agent", "proxy-connection"}
        assert proxy.carried
        assert b"sesame" not in head.encode() + proxy.carried

    @pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
    def test_the_endpoint_is_not_shown_the_password_of_the_proxy(
        self, send: Send, authority: Authority, secure: bool
    ) -> None:
        tls = authority.server_context("tunnelled.example") if secure else None
        with (
            ConnectProxy(credentials=BASIC) as proxy,
            HostileReceiver(saying(OK), tls=tls) as receiver,
        ):
            options = through(proxy, ca_bundle=str(authority.bundle))
            options["proxy"] = EgressProxy.parse(proxy.url("us:open%3A%20s%40same"))
            outcome = send(receiver.url(host="tunnelled.example"), **options)
        assert outcome.kind is OutcomeKind.DELIVERED
        [request] = receiver.requests
        assert not {name for name, _ in request.headers if name.startswith("proxy-")}
        assert BASIC not in str(request)

    def test_the_certificate_must_be_the_endpoint_s(
        self, send: Send, authority: Authority, proxy: ConnectProxy
    ) -> None:
        tls = authority.server_context("127.0.0.1")
        with HostileReceiver(saying(OK), tls=tls) as receiver:
            outcome = send(
                receiver.url(host="tunnelled.example"),
                **through(proxy, ca_bundle=str(authority.bundle)),
            )
        assert outcome.kind is OutcomeKind.TLS_FAILED
        assert outcome.error.startswith("certificate not accepted")
        assert receiver.requests == []

    def test_a_client_certificate_is_shown_to_the_endpoint_alone(
        self, send: Send, authority: Authority
    ) -> None:
        tls = authority.server_context("tunnelled.example", asks=ssl.CERT_REQUIRED)
        proxy_tls = authority.server_context("127.0.0.1", asks=ssl.CERT_OPTIONAL)
        with (
            ConnectProxy(tls=proxy_tls) as proxy,
            HostileReceiver(telling_who, tls=tls) as receiver,
        ):
            outcome = send(
                receiver.url(host="tunnelled.example"),
                credentials=Credentials(certificate=authority.certificate("us.example")),
                **through(proxy, ca_bundle=str(authority.bundle)),
            )
        assert outcome.kind is OutcomeKind.DELIVERED
        assert proxy.certificates == [None]
        assert outcome.response_body == '["us.example"]'

    def test_a_connection_that_was_closed_while_idle_costs_a_new_one(
        self, make_sender: MakeSender, proxy: ConnectProxy
    ) -> None:
        sender = make_sender(**through(proxy))
        with HostileReceiver(saying(OK)) as receiver:
            request = OutgoingRequest(receiver.url(host="tunnelled.example"), {}, b"{}")
            assert [sender.send(request).status for _ in range(3)] == [200] * 3
        assert len(proxy.heads) == 3

    def test_what_comes_right_behind_the_answer_of_the_proxy_is_the_endpoint_s(
        self, send: Send
    ) -> None:
        with HostileReceiver(saying(b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n" + OK)) as proxy:
            outcome = send("http://tunnelled.example/", **through(proxy))
        assert (outcome.kind, outcome.response_body) == (OutcomeKind.DELIVERED, "ok")

    def test_tokens_are_fetched_through_it_too(self, send: Send, proxy: ConnectProxy) -> None:
        with HostileReceiver(Issuer()) as issuer, HostileReceiver(saying(OK)) as receiver:
            grant = ClientCredentials(issuer.url("/token", host="tunnelled.example"), *CLIENT)
            outcome = send(
                receiver.url(host="tunnelled.example"),
                credentials=Credentials(oauth2=grant),
                **through(proxy),
            )
        assert outcome.kind is OutcomeKind.DELIVERED
        assert [head.split(" ")[1] for head in proxy.heads] == [
            f"tunnelled.example:{issuer.port}",
            f"tunnelled.example:{receiver.port}",
        ]

    @pytest.mark.parametrize("status", [200, 500])
    def test_what_the_endpoint_sends_is_held_to_the_limits(
        self, send: Send, proxy: ConnectProxy, status: int
    ) -> None:
        endless_body = misbehaviours.bodies_without_end(status)["sends a body without end"]
        with HostileReceiver(endless_body) as receiver:
            outcome = send(receiver.url(host="tunnelled.example"), **through(proxy))
        assert (outcome.status, outcome.response_body) == (status, "x" * 4096)
        endless_headers = misbehaviours.HEADS_WITHOUT_END["sends headers without end"]
        with HostileReceiver(endless_headers) as receiver:
            outcome = send(receiver.url(host="tunnelled.example"), **through(proxy))
        assert outcome.kind is OutcomeKind.RESPONSE_INVALID

    @pytest.mark.parametrize("secure", [False, True], ids=["http proxy", "https proxy"])
    @each({"silence": waits, "drip": dripping(b"HTTP/1.1 200 OK")})
    def test_the_deadline_holds(
        self, send: Send, authority: Authority, behaviour: Behaviour, secure: bool
    ) -> None:
        tls = authority.server_context("tunnelled.example")
        proxy_tls = authority.server_context("127.0.0.1") if secure else None
        with ConnectProxy(tls=proxy_tls) as proxy, HostileReceiver(behaviour, tls=tls) as receiver:
            outcome = send(
                receiver.url(host="tunnelled.example"),
                body=bytes(20_000_000),
                **through(proxy, ca_bundle=str(authority.bundle), limits=HASTY),
            )
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.duration_ms < GENEROUS_MS

    def test_the_handshake_with_the_endpoint_is_held_to_the_deadline(
        self, send: Send, proxy: ConnectProxy
    ) -> None:
        with HostileReceiver(waits) as receiver:
            url = receiver.url(host="tunnelled.example", scheme="https")
            outcome = send(url, **through(proxy, limits=HASTY))
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.duration_ms < GENEROUS_MS

    @pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
    @pytest.mark.parametrize("proxy_secure", [False, True], ids=["http proxy", "https proxy"])
    def test_the_way_to_the_proxy_is_timed_and_then_the_endpoint(
        self, make_sender: MakeSender, authority: Authority, secure: bool, proxy_secure: bool
    ) -> None:
        tls = authority.server_context("tunnelled.example") if secure else None
        proxy_tls = authority.server_context("127.0.0.1") if proxy_secure else None
        with (
            ConnectProxy(tls=proxy_tls) as proxy,
            HostileReceiver(kept_alive, tls=tls) as receiver,
        ):
            sender = make_sender(**through(proxy, ca_bundle=str(authority.bundle)))
            request = OutgoingRequest(receiver.url(host="tunnelled.example"), {}, b"{}")
            first, second = sender.send(request).timings, sender.send(request).timings
            sender.close()
        assert first.dns is None
        assert first.connect is not None
        assert (first.tls is not None) == secure
        assert first.first_byte is not None
        assert second == Timings(first_byte=second.first_byte)


class TestChoice:
    def test_the_environment_has_no_say(
        self, send: Send, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with HostileReceiver(kept_alive) as trap, HostileReceiver(saying(OK)) as receiver:
            for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, trap.url("/"))
            for name in ("no_proxy", "NO_PROXY"):
                monkeypatch.setenv(name, "*")
            outcome = send(receiver.url(host="tunnelled.example"), **through(proxy))
            assert outcome.kind is OutcomeKind.DELIVERED
            assert trap.connections() == 0
        assert len(proxy.heads) == 1

    def test_the_proxy_alone_may_have_an_address_that_is_not_public(
        self, send: Send, proxy: ConnectProxy
    ) -> None:
        strict = through(proxy, policy=AddressPolicy(allow_http=True))
        with HostileReceiver(saying(OK)) as receiver:
            assert send(receiver.url(), **strict).kind is OutcomeKind.ADDRESS_REFUSED
            assert send(proxy.url(), **strict).kind is OutcomeKind.ADDRESS_REFUSED
            assert proxy.heads == []
            outcome = send(receiver.url(host="tunnelled.example"), **strict)
        assert outcome.kind is OutcomeKind.DELIVERED

    @pytest.mark.parametrize(
        "url",
        [
            "http://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://[::1]/",
            "http://0x7f000001/",
            "http://tunnelled.example:22/",
            "http://localhost/",
        ],
    )
    def test_a_url_is_judged_by_us_all_the_same(
        self, send: Send, proxy: ConnectProxy, url: str
    ) -> None:
        assert send(url, **through(proxy)).kind is OutcomeKind.ADDRESS_REFUSED
        assert proxy.heads == []

    def test_the_proxy_may_have_a_name(self, send: Send, proxy: ConnectProxy) -> None:
        options = through(proxy)
        options["proxy"] = EgressProxy.parse(proxy.url(host="localhost"))
        with HostileReceiver(saying(OK)) as receiver:
            outcome = send(
                receiver.url(host="tunnelled.example"),
                **{**options, "resolve": {"localhost": ["127.0.0.1"]}.__getitem__},
            )
        assert outcome.kind is OutcomeKind.DELIVERED


class TestFailure:
    """Of the proxy: it is told as such, and nothing of it passes for the endpoint's answer."""

    @pytest.mark.parametrize(
        ("status", "kind", "error"),
        [
            (407, OutcomeKind.PROXY_FAILED, "407 Proxy Authentication Required"),
            (403, OutcomeKind.PROXY_FAILED, "403 Forbidden"),
            (410, OutcomeKind.PROXY_FAILED, "410 Gone"),
            (429, OutcomeKind.PROXY_FAILED, "429 Too Many Requests"),
            (302, OutcomeKind.PROXY_FAILED, "302 Found"),
            (100, OutcomeKind.PROXY_FAILED, "100 Continue"),
            (101, OutcomeKind.PROXY_FAILED, "101 Switching Protocols"),
            (500, OutcomeKind.PROXY_FAILED, "500 Internal Server Error"),
            (502, OutcomeKind.CONNECTION_FAILED, "502 Bad Gateway"),
            (503, OutcomeKind.CONNECTION_FAILED, "503 Service Unavailable"),
            (504, OutcomeKind.CONNECTION_FAILED, "504 Gateway Timeout"),
            (999, OutcomeKind.PROXY_FAILED, "999"),
        ],
    )
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_an_answer_that_opens_no_tunnel_is_told_as_the_proxy_s(
        self, send: Send, scheme: str, status: int, kind: OutcomeKind, error: str
    ) -> None:
        refusal = answer(status, b"sesame", b"Retry-After: 9")
        with HostileReceiver(saying(refusal)) as proxy:
            outcome = send(f"{scheme}://tunnelled.example/", **through(proxy))
        assert outcome.kind is kind
        assert outcome.error == f"the egress proxy answered {error}"
        assert (outcome.status, outcome.response_body, outcome.retry_after) == (None, "", None)
        assert outcome.endpoint_failed is (kind is OutcomeKind.CONNECTION_FAILED)

    @each(
        misbehaviours.GOES_WITHOUT_AN_ANSWER
        | misbehaviours.NO_STATUS
        | misbehaviours.HALF_A_HEAD
        | misbehaviours.HEADS_WITHOUT_END
    )
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_an_answer_that_makes_no_sense_is_none(
        self, send: Send, behaviour: Behaviour, scheme: str
    ) -> None:
        with HostileReceiver(behaviour) as proxy:
            outcome = send(f"{scheme}://tunnelled.example/", **through(proxy))
        assert outcome.kind is OutcomeKind.PROXY_FAILED
        assert outcome.error == "the egress proxy gave no valid answer"
        assert proxy.writers[0].said < FULL_BUFFERS

    @pytest.mark.parametrize(
        "behaviour",
        [
            forever(b"HTTP/1.1 100 Continue\r\n\r\n"),
            forever(b"x" * 10_000, after=b"HTTP/1.1 407 No\r\n\r\n"),
            forever(b"1\r\nx\r\n", after=b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ],
        ids=["interim", "body", "chunks"],
    )
    def test_what_follows_a_refusal_is_not_read(self, send: Send, behaviour: Behaviour) -> None:
        with HostileReceiver(behaviour) as proxy:
            outcome = send("http://tunnelled.example/", **through(proxy))
        assert outcome.kind is OutcomeKind.PROXY_FAILED
        assert proxy.writers[0].said < FULL_BUFFERS

    @each(misbehaviours.DRIPPING_HEADS)
    def test_it_must_answer_in_time(self, send: Send, behaviour: Behaviour) -> None:
        with HostileReceiver(behaviour) as proxy:
            outcome = send("http://tunnelled.example/", **through(proxy, limits=HASTY))
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.duration_ms < GENEROUS_MS

    def test_it_must_be_there(self, send: Send) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            host, port = bound.getsockname()
            proxy = EgressProxy("http", host, port)
            outcome = send("http://tunnelled.example/", proxy=proxy)
        assert outcome.kind is OutcomeKind.PROXY_FAILED
        assert outcome.error == "no connection to the egress proxy"
        assert not outcome.endpoint_failed

    def test_its_name_must_be_found(self, send: Send) -> None:
        outcome = send("http://tunnelled.example/", proxy=EgressProxy.parse("http://a.onion:1"))
        assert outcome.kind is OutcomeKind.PROXY_FAILED
        assert outcome.error == "no connection to the egress proxy"

    def test_it_must_be_connected_to_in_time(self, send: Send) -> None:
        with deaf_address("127.0.0.1") as port:
            proxy = EgressProxy("http", "127.0.0.1", port)
            outcome = send("http://tunnelled.example/", proxy=proxy, limits=HASTY)
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.duration_ms < GENEROUS_MS

    @pytest.mark.parametrize(
        "certificate",
        [
            lambda authority: authority.server_context("127.0.0.1", self_signed=True),
            lambda authority: authority.server_context("127.0.0.1", expired=True),
            lambda authority: authority.server_context("other.example"),
        ],
        ids=["self-signed", "expired", "another name's"],
    )
    def test_its_certificate_must_be_good(
        self, send: Send, authority: Authority, certificate: Callable[[Authority], ssl.SSLContext]
    ) -> None:
        with ConnectProxy(tls=certificate(authority)) as proxy:
            bundle = str(authority.bundle)
            outcome = send("http://tunnelled.example/", **through(proxy, ca_bundle=bundle))
        assert outcome.kind is OutcomeKind.PROXY_FAILED
        assert outcome.error == "the egress proxy's certificate is not accepted"
        assert proxy.heads == []

    @pytest.mark.parametrize(
        ("sentence", "kind"),
        [
            ("answers a handshake in the clear", OutcomeKind.PROXY_FAILED),
            ("says nothing to a handshake", OutcomeKind.TIMED_OUT),
            ("drips its handshake", OutcomeKind.TIMED_OUT),
        ],
    )
    def test_it_must_speak_tls_where_it_is_said_to(
        self, send: Send, sentence: str, kind: OutcomeKind
    ) -> None:
        with HostileReceiver(misbehaviours.ON_A_HANDSHAKE[sentence]) as proxy:
            options = through(proxy, limits=HASTY)
            options["proxy"] = EgressProxy.parse(proxy.url("", scheme="https"))
            outcome = send("http://tunnelled.example/", **options)
        assert outcome.kind is kind
        assert outcome.duration_ms < GENEROUS_MS

    def test_a_wrong_password_is_told_without_the_password(self, send: Send) -> None:
        with ConnectProxy(credentials=BASIC) as proxy:
            options = through(proxy)
            options["proxy"] = EgressProxy.parse(proxy.url("us:sesame"))
            outcome = send("http://tunnelled.example/", **options)
        assert outcome.error == "the egress proxy answered 407 Proxy Authentication Required"

    def test_a_token_that_cannot_be_fetched_is_told_so(self, send: Send) -> None:
        with HostileReceiver(saying(b"HTTP/1.1 407 No\r\n\r\n")) as proxy:
            grant = ClientCredentials("http://tunnelled.example/token", *CLIENT)
            outcome = send(
                "http://tunnelled.example/", credentials=Credentials(oauth2=grant), **through(proxy)
            )
        assert outcome.kind is OutcomeKind.PROXY_FAILED
        assert outcome.error.startswith("no OAuth2 token could be fetched: the egress proxy answer")
        assert not outcome.endpoint_failed


def test_no_password_of_the_proxy_is_in_a_log_or_a_sender(
    make_sender: MakeSender, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with ConnectProxy(credentials=BASIC) as proxy, HostileReceiver(saying(OK)) as receiver:
        options = through(proxy)
        options["proxy"] = EgressProxy.parse(proxy.url("us:open%3A%20s%40same"))
        sender = make_sender(**options)
        outcome = sender.send(OutgoingRequest(receiver.url(host="tunnelled.example"), {}, b"{}"))
        told = f"{outcome} {vars(sender)} {caplog.text}"
        sender.close()
    assert outcome.kind is OutcomeKind.DELIVERED
    assert BASIC[6:] not in told
    assert "s@same" not in told
