"""What every sender promises, whatever the endpoint does."""

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from time import sleep

import pytest

from tests.webhooks.sending import misbehaviours
from tests.webhooks.sending.behaviours import (
    CHUNKED,
    OK,
    always_saying,
    answer,
    dripping,
    kept_alive,
    saying,
    slowly,
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
    requests_only,
)
from tests.webhooks.sending.hostile_receiver import Behaviour, HostileReceiver, deaf_address
from webhooks.addresses import AddressPolicy
from webhooks.sending.outcome import Limits, OutcomeKind, OutgoingRequest, Timings


class TestRequest:
    def test_it_arrives_byte_for_byte(self, send: Send) -> None:
        body = bytes(range(256))
        with HostileReceiver(saying(OK)) as receiver:
            send(
                receiver.url("/in?a=1&b=%2F"),
                body=body,
                headers={"content-type": "application/json", "webhook-id": "evt_1"},
            )
        [request] = receiver.requests
        assert request.line == "POST /in?a=1&b=%2F HTTP/1.1"
        assert request.body == body
        assert request.header("content-type") == "application/json"
        assert request.header("webhook-id") == "evt_1"
        assert request.header("content-length") == "256"
        assert request.header("host") == f"127.0.0.1:{receiver.port}"
        assert request.header("user-agent") == "Angarium/test"

    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/~user/%7Euser",
            "//twice//",
            "/a;b=c,d:e@f",
            "/?",
            "/?q=?/&r=%C3%A9",
            "/%2E%2Fx!$'()*+",
        ],
    )
    def test_the_path_is_that_of_the_url(self, send: Send, path: str) -> None:
        with HostileReceiver(saying(OK)) as receiver:
            send(receiver.url(path))
        assert receiver.requests[0].path == path.removesuffix("?")

    def test_no_content_coding_is_accepted(self, send: Send) -> None:
        with HostileReceiver(saying(OK)) as receiver:
            send(receiver.url())
        assert receiver.requests[0].header("accept-encoding") in {None, "identity"}

    def test_a_header_may_be_empty(self, send: Send) -> None:
        with HostileReceiver(saying(OK)) as receiver:
            send(receiver.url(), headers={"x-empty": ""})
        assert receiver.requests[0].header("x-empty") == ""

    def test_no_header_is_made_up_for_a_long_body(self, send: Send) -> None:
        body = bytes(5_000_000)
        with HostileReceiver(saying(OK)) as receiver:
            assert send(receiver.url(), body=body).kind is OutcomeKind.DELIVERED
        [request] = receiver.requests
        assert request.body == body
        assert request.header("content-type") is None
        assert request.header("expect") is None

    def test_nothing_in_it_comes_from_the_environment(
        self, send: Send, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        netrc = tmp_path / ".netrc"
        netrc.write_text("machine 127.0.0.1 login us password secret\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("HOME", str(tmp_path))
        with HostileReceiver(kept_alive) as trap, HostileReceiver(saying(OK)) as receiver:
            for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, trap.url("/"))
            outcome = send(receiver.url())
            assert outcome.kind is OutcomeKind.DELIVERED
            assert trap.connections() == 0
        assert receiver.requests[0].header("authorization") is None

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("x-a", "1\r\nx-b: 2"),
            ("x-a", "1\nx-b: 2"),
            ("x-a", "1\r\n x-b: 2"),
            ("x-a", "1\0"),
            ("x-a", "é"),
            ("x-a", "\ud800"),
            ("x-a: 1\r\nx-b", "2"),
            ("x a", "1"),
            ("x-é", "1"),
            ("", "1"),
            ("Host", "elsewhere.example"),
            ("content-length", "0"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "upgrade"),
        ],
    )
    def test_no_header_can_change_how_it_is_read(self, send: Send, name: str, value: str) -> None:
        with HostileReceiver(saying(OK)) as receiver:
            outcome = send(receiver.url(), headers={name: value})
            assert outcome.kind is OutcomeKind.UNRENDERABLE
            assert outcome.error
            assert "x-b" not in outcome.error
            assert receiver.connections() == 0

    @each(misbehaviours.COOKIES)
    def test_cookies_are_not_sent_back(self, make_sender: MakeSender, behaviour: Behaviour) -> None:
        sender = make_sender()
        with HostileReceiver(behaviour) as receiver:
            for _ in range(2):
                sender.send(OutgoingRequest(receiver.url(), {}, b"{}"))
            sender.close()
        assert [request.header("cookie") for request in receiver.requests] == [None, None]


class TestStatus:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
    def test_2xx_is_delivered(self, send: Send, status: int) -> None:
        with HostileReceiver(saying(b"HTTP/1.1 %d Fine\r\n\r\n" % status)) as receiver:
            outcome = send(receiver.url())
        assert outcome.kind is OutcomeKind.DELIVERED
        assert (outcome.status, outcome.error, outcome.response_body) == (status, "", "")

    @pytest.mark.parametrize("status", [400, 401, 404, 410, 413, 429, 500, 503, 599, 999])
    def test_any_other_status_is_rejected(self, send: Send, status: int) -> None:
        with HostileReceiver(saying(answer(status, b"why?"))) as receiver:
            outcome = send(receiver.url())
        assert outcome.kind is OutcomeKind.REJECTED
        assert (outcome.status, outcome.response_body) == (status, "why?")
        assert outcome.error.startswith(f"answered {status}")

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(self, send: Send, status: int) -> None:
        with HostileReceiver(saying(OK)) as elsewhere:
            behaviour = misbehaviours.pointing(status, "Location", elsewhere.url())
            with HostileReceiver(behaviour) as receiver:
                outcome = send(receiver.url())
            assert outcome.kind is OutcomeKind.REDIRECTED
            assert outcome.status == status
            assert elsewhere.connections() == 0

    @each(misbehaviours.REDIRECTS_TO_NONSENSE)
    def test_a_redirect_to_nonsense_is_a_redirect(self, send: Send, behaviour: Behaviour) -> None:
        with HostileReceiver(behaviour) as receiver:
            assert send(receiver.url()).kind is OutcomeKind.REDIRECTED

    def test_304_is_redirected(self, send: Send) -> None:
        with HostileReceiver(saying(b"HTTP/1.1 304 Not Modified\r\n\r\n")) as receiver:
            assert send(receiver.url()).kind is OutcomeKind.REDIRECTED

    @pytest.mark.parametrize("status", [429, 503])
    def test_the_wait_that_it_asks_for_is_told(self, send: Send, status: int) -> None:
        with HostileReceiver(saying(answer(status, b"", b"Retry-After: 120"))) as receiver:
            assert send(receiver.url()).retry_after == 120.0

    @pytest.mark.parametrize(
        "interim",
        [
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 102 Processing\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3,
        ],
    )
    def test_interim_responses_are_passed_over(self, send: Send, interim: bytes) -> None:
        with HostileReceiver(saying(interim, OK)) as receiver:
            outcome = send(receiver.url())
        assert (outcome.kind, outcome.status) == (OutcomeKind.DELIVERED, 200)
        assert outcome.response_body == "ok"

    @each(misbehaviours.SWITCHES_PROTOCOLS)
    def test_switching_protocols_is_no_success(self, send: Send, behaviour: Behaviour) -> None:
        with HostileReceiver(behaviour) as receiver:
            assert send(receiver.url()).kind is OutcomeKind.RESPONSE_INVALID


class TestHead:
    @each(misbehaviours.NOT_HTTP)
    def test_what_is_not_http_is_invalid(self, send: Send, behaviour: Behaviour) -> None:
        with HostileReceiver(behaviour) as receiver:
            outcome = send(receiver.url())
        assert (outcome.kind, outcome.status) == (OutcomeKind.RESPONSE_INVALID, None)
        assert outcome.error

    @each(
        misbehaviours.HEADS_TOO_LONG
        | misbehaviours.HEADS_WITHOUT_END
        | misbehaviours.INTERIM_RESPONSES_WITHOUT_END
    )
    def test_a_head_over_the_limits_is_cut(self, send: Send, behaviour: Behaviour) -> None:
        with HostileReceiver(behaviour) as receiver:
            assert send(receiver.url()).kind is OutcomeKind.RESPONSE_INVALID
        assert receiver.writers[0].said < FULL_BUFFERS

    def test_the_log_does_not_tell_the_url_of_one_that_is_malformed(
        self, send: Send, caplog: pytest.LogCaptureFixture
    ) -> None:
        with HostileReceiver(saying(b"HTTP/1.1 200 OK\r\nmalformed\r\n\r\n")) as receiver:
            send(receiver.url("/hook?token=secret"))
        assert "secret" not in " ".join(
            record.getMessage() for record in caplog.records if record.levelname != "DEBUG"
        )

    def test_latin_1_in_a_header_is_no_fault(self, send: Send) -> None:
        answer = b"HTTP/1.1 200 Tr\xe8s bien\r\nX-Nom: \xe9t\xe9\r\nContent-Length: 0\r\n\r\n"
        with HostileReceiver(saying(answer)) as receiver:
            assert send(receiver.url()).kind is OutcomeKind.DELIVERED


class TestHeaders:
    def test_they_are_kept_where_the_response_is_no_success(self, send: Send) -> None:
        headers = (
            b"Server: gate/7\r\nX-Seen:  twice \r\nX-Seen: once\r\nX-Nom: \xe9t\xe9\r\n"
            b"Set-Cookie: session=sesame\r\nContent-Length: 0\r\n\r\n"
        )
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
        kept = "Server: gate/7\nX-Seen: twice\nX-Seen: once\nX-Nom: \xe9t\xe9\nContent-Length: 0"
        for status, what in (("503 Busy", kept), ("302 Found", kept), ("200 OK", "")):
            answer = early + b"HTTP/1.1 %b\r\n" % status.encode() + headers
            with HostileReceiver(saying(answer)) as receiver:
                assert send(receiver.url()).response_headers == what

    def test_of_many_the_first_are_kept(self, send: Send) -> None:
        answer = b"HTTP/1.1 500 No\r\nX-Long: " + b"x" * 5000 + b"\r\nContent-Length: 0\r\n\r\n"
        with HostileReceiver(saying(answer)) as receiver:
            assert send(receiver.url()).response_headers == ("X-Long: " + "x" * 5000)[:2048]


class TestBody:
    def test_the_beginning_is_kept(self, send: Send) -> None:
        with HostileReceiver(saying(answer(500, b"x" * 10_000))) as receiver:
            assert send(receiver.url()).response_body == "x" * 4096

    def test_a_chunked_one_is_put_together(self, send: Send) -> None:
        with HostileReceiver(saying(CHUNKED + b"2\r\nHi\r\n1\r\n!\r\n0\r\n\r\n")) as receiver:
            assert send(receiver.url()).response_body == "Hi!"

    @pytest.mark.parametrize("status", [200, 302, 500])
    @pytest.mark.parametrize("sentence", misbehaviours.bodies_without_end(200))
    def test_an_endless_one_is_cut(self, send: Send, status: int, sentence: str) -> None:
        with HostileReceiver(misbehaviours.bodies_without_end(status)[sentence]) as receiver:
            outcome = send(receiver.url())
        assert outcome.status == status
        assert outcome.response_body.strip("x") == ""
        assert receiver.writers[0].said < FULL_BUFFERS

    @each(misbehaviours.BROKEN_BODIES)
    def test_a_broken_one_leaves_the_status_as_it_is(
        self, send: Send, behaviour: Behaviour
    ) -> None:
        with HostileReceiver(behaviour) as receiver:
            outcome = send(receiver.url())
        assert (outcome.kind, outcome.status) == (OutcomeKind.DELIVERED, 200)

    @each(misbehaviours.UNSTORABLE)
    def test_whatever_it_is_postgresql_can_store_it(self, send: Send, behaviour: Behaviour) -> None:
        with HostileReceiver(behaviour) as receiver:
            outcome = send(receiver.url())
        assert (outcome.response_body[0], outcome.response_body[-1]) == ("a", "z")
        for text in (outcome.response_body, outcome.error):
            assert "\0" not in text
            text.encode()


class TestDeadline:
    @each(misbehaviours.DRIPPING_HEADS)
    def test_a_head_that_does_not_come_in_time_is_timed_out(
        self, send: Send, behaviour: Behaviour
    ) -> None:
        with HostileReceiver(behaviour) as receiver:
            outcome = send(receiver.url(), limits=HASTY)
        assert (outcome.kind, outcome.status) == (OutcomeKind.TIMED_OUT, None)
        assert outcome.duration_ms < GENEROUS_MS

    @pytest.mark.parametrize("status", [200, 500])
    @pytest.mark.parametrize("sentence", misbehaviours.dripping_bodies(200))
    def test_a_body_that_drips_is_left_and_the_status_stands(
        self, send: Send, status: int, sentence: str
    ) -> None:
        with HostileReceiver(misbehaviours.dripping_bodies(status)[sentence]) as receiver:
            outcome = send(receiver.url(), limits=HASTY)
        assert outcome.status == status
        assert outcome.response_body.strip("x") == ""
        assert outcome.duration_ms < GENEROUS_MS

    def test_a_receiver_that_does_not_read_is_timed_out(self, send: Send) -> None:
        with HostileReceiver(waits) as receiver:
            outcome = send(receiver.url(), body=bytes(20_000_000), limits=HASTY)
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.duration_ms < GENEROUS_MS

    def test_it_starts_anew_on_a_connection_used_before(self, make_sender: MakeSender) -> None:
        sender = make_sender(limits=Limits(timeout=1.5))
        with HostileReceiver(slowly(OK, seconds=0.5)) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}")
            kinds = [sender.send(request).kind for _ in range(4)]
            assert kinds == [OutcomeKind.DELIVERED] * 4
            assert receiver.connections() == 1

    @each(misbehaviours.ONCE_AND_THEN_DRIPS)
    def test_it_holds_on_a_connection_used_before(
        self, make_sender: MakeSender, behaviour: Behaviour
    ) -> None:
        sender = make_sender(limits=HASTY)
        with HostileReceiver(behaviour) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}")
            assert sender.send(request).kind is OutcomeKind.DELIVERED
            assert sender.send(request).kind is OutcomeKind.TIMED_OUT

    def test_a_connection_that_is_never_accepted_is_timed_out(self, send: Send) -> None:
        with deaf_address("127.0.0.1") as port:
            outcome = send(f"http://127.0.0.1:{port}/", limits=HASTY)
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.duration_ms < GENEROUS_MS

    def test_a_name_that_is_never_found_is_timed_out(self, send: Send) -> None:
        over = threading.Event()

        def hang(host: str) -> list[str]:
            over.wait()
            return []

        outcome = send("http://receiver.example/", resolve=hang, limits=HASTY)
        over.set()
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.duration_ms < GENEROUS_MS


class TestConnection:
    def test_it_is_kept_for_the_next_request(self, make_sender: MakeSender) -> None:
        sender = make_sender()
        with HostileReceiver(kept_alive) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}")
            kinds = [sender.send(request).kind for _ in range(3)]
            assert kinds == [OutcomeKind.DELIVERED] * 3
            assert receiver.connections() == 1

    def test_it_is_not_kept_beyond_its_time(self, make_sender: MakeSender) -> None:
        sender = make_sender(limits=Limits(keep_alive=0))
        with HostileReceiver(kept_alive) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}")
            for _ in range(2):
                sender.send(request)
            assert receiver.connections() == 2

    @pytest.mark.parametrize(("length", "connections"), [(65_536, 1), (65_537, 2)])
    def test_it_is_kept_unless_the_body_was_cut(
        self, make_sender: MakeSender, length: int, connections: int
    ) -> None:
        sender = make_sender(limits=Limits(max_header_bytes=16_384, max_response_bytes=65_536))
        with HostileReceiver(always_saying(answer(200, bytes(length)))) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}")
            for _ in range(2):
                assert sender.send(request).kind is OutcomeKind.DELIVERED
            assert receiver.connections() == connections

    @each(misbehaviours.UNASKED)
    def test_what_comes_unasked_is_no_answer(
        self, make_sender: MakeSender, behaviour: Behaviour
    ) -> None:
        sender = make_sender()
        with HostileReceiver(behaviour) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}")
            assert [sender.send(request).status for _ in range(3)] == [200, 200, 200]

    @pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
    @each(misbehaviours.CLOSED_WHILE_IDLE)
    def test_one_that_was_closed_while_idle_costs_nothing(
        self, make_sender: MakeSender, authority: Authority, behaviour: Behaviour, secure: bool
    ) -> None:
        sender = make_sender(ca_bundle=str(authority.bundle))
        tls = authority.server_context("receiver.example") if secure else None
        with HostileReceiver(behaviour, tls=tls) as receiver:
            request = OutgoingRequest(receiver.url(host="receiver.example"), {}, b"{}")
            kinds = [sender.send(request).kind for _ in range(2)]
            assert kinds == [OutcomeKind.DELIVERED] * 2
            assert receiver.connections() == 2

    def test_a_new_one_that_is_closed_is_not_tried_again(self, send: Send) -> None:
        with HostileReceiver(misbehaviours.reads_and_closes) as receiver:
            outcome = send(receiver.url())
            assert outcome.kind is OutcomeKind.CONNECTION_FAILED
            assert receiver.connections() == 1

    def test_one_that_is_refused_has_failed(self, send: Send) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
            outcome = send(f"http://127.0.0.1:{port}/")
        assert outcome.kind is OutcomeKind.CONNECTION_FAILED
        assert outcome.error == f"connection refused by 127.0.0.1:{port}"

    @requests_only
    def test_many_threads_may_send_at_once(self, make_sender: MakeSender) -> None:
        sender = make_sender()
        outcomes = []
        with HostileReceiver(kept_alive) as receiver:

            def run(number: int) -> None:
                for _ in range(5):
                    request = OutgoingRequest(receiver.url(), {}, b"%d" % number)
                    outcomes.append(sender.send(request))

            threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert {outcome.kind for outcome in outcomes} == {OutcomeKind.DELIVERED}
        bodies = sorted(request.body for request in receiver.requests)
        assert bodies == sorted(b"%d" % number for number in range(8) for _ in range(5))


class TestAddress:
    def test_a_name_is_connected_to_and_stays_the_host(self, send: Send) -> None:
        with HostileReceiver(saying(OK)) as receiver:
            outcome = send(receiver.url(host="receiver.example"))
        assert outcome.kind is OutcomeKind.DELIVERED
        assert receiver.requests[0].header("host") == f"receiver.example:{receiver.port}"

    def test_a_name_that_is_not_known_is_not_resolved(self, send: Send) -> None:
        outcome = send("http://nowhere.example/")
        assert outcome.kind is OutcomeKind.NAME_NOT_RESOLVED
        assert "nowhere.example" in outcome.error

    @pytest.mark.parametrize("answers", [[], ["nonsense"]])
    def test_a_name_without_an_address_is_not_resolved(
        self, send: Send, answers: list[str]
    ) -> None:
        outcome = send("http://receiver.example/", resolve=lambda host: answers)
        assert outcome.kind is OutcomeKind.NAME_NOT_RESOLVED

    @pytest.mark.parametrize(
        "answers",
        [
            ["127.0.0.1"],
            ["8.8.8.8", "127.0.0.1"],
            ["127.0.0.1", "8.8.8.8"],
            ["::ffff:127.0.0.1"],
            ["fd00::1"],
            ["fe80::1%eth0"],
        ],
    )
    def test_one_forbidden_address_refuses_the_name(self, send: Send, answers: list[str]) -> None:
        with HostileReceiver(saying(OK)) as receiver:
            outcome = send(
                receiver.url(host="receiver.example"),
                policy=AddressPolicy(allow_http=True),
                resolve=lambda host: answers,
            )
            assert outcome.kind is OutcomeKind.NAME_REFUSED
            assert not any(address in outcome.error for address in answers)
            assert receiver.connections() == 0

    def test_a_name_that_changes_its_address_gains_nothing(self, make_sender: MakeSender) -> None:
        answers = [["127.0.0.1"], ["127.0.0.2"]]
        sender = make_sender(
            policy=AddressPolicy.from_strings(allowed_networks=["127.0.0.1/32"], allow_http=True),
            resolve=lambda host: answers.pop(0),
        )
        with (
            HostileReceiver(saying(OK)) as receiver,
            HostileReceiver(saying(OK), host="127.0.0.2") as trap,
        ):
            kinds = [
                sender.send(OutgoingRequest(one.url(host="receiver.example"), {}, b"{}")).kind
                for one in (receiver, trap)
            ]
            assert kinds == [OutcomeKind.DELIVERED, OutcomeKind.NAME_REFUSED]
            assert (receiver.connections(), trap.connections()) == (1, 0)

    def test_the_addresses_are_tried_in_turn(self, send: Send) -> None:
        with HostileReceiver(saying(OK)) as receiver:
            outcome = send(
                receiver.url(host="receiver.example"),
                resolve=lambda host: ["127.0.0.2", "127.0.0.3", "127.0.0.1"],
            )
        assert outcome.kind is OutcomeKind.DELIVERED

    def test_an_address_that_does_not_answer_leaves_time_for_the_next(self, send: Send) -> None:
        with (
            HostileReceiver(saying(OK)) as receiver,
            deaf_address("127.0.0.2", receiver.port),
        ):
            outcome = send(
                receiver.url(host="receiver.example"),
                resolve=lambda host: ["127.0.0.2", "127.0.0.1"],
                limits=Limits(connect_timeout=2),
            )
        assert outcome.kind is OutcomeKind.DELIVERED

    @pytest.mark.parametrize(
        "url",
        [
            "http://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://0x7f000001/",
            "http://receiver.example:22/",
            "http://user:password@receiver.example/",
            "gopher://receiver.example/",
            "http://receiver.example/\r\nX: 1",
            "",
        ],
    )
    def test_a_url_is_judged_again(self, send: Send, url: str) -> None:
        outcome = send(url, resolve=lambda host: pytest.fail("looked a name up"))
        assert outcome.kind is OutcomeKind.ADDRESS_REFUSED
        assert "password" not in outcome.error.replace("user name and password", "")

    def test_http_is_refused_unless_it_is_allowed(self, send: Send) -> None:
        policy = AddressPolicy.from_strings(allowed_networks=["127.0.0.0/8"])
        with HostileReceiver(saying(OK)) as receiver:
            assert send(receiver.url(), policy=policy).kind is OutcomeKind.ADDRESS_REFUSED
            assert receiver.connections() == 0


class TestTLS:
    def test_a_certificate_for_the_name_is_accepted(self, send: Send, authority: Authority) -> None:
        tls = authority.server_context("receiver.example")
        seen = []
        tls.sni_callback = lambda sock, name, context: seen.append(name)
        with HostileReceiver(saying(OK), tls=tls) as receiver:
            url = receiver.url(host="receiver.example")
            outcome = send(url, ca_bundle=str(authority.bundle))
        assert outcome.kind is OutcomeKind.DELIVERED
        assert seen == ["receiver.example"]

    def test_a_connection_is_kept(self, make_sender: MakeSender, authority: Authority) -> None:
        sender = make_sender(ca_bundle=str(authority.bundle))
        tls = authority.server_context("receiver.example")
        with HostileReceiver(kept_alive, tls=tls) as receiver:
            request = OutgoingRequest(receiver.url(host="receiver.example"), {}, b"{}")
            kinds = [sender.send(request).kind for _ in range(3)]
            assert kinds == [OutcomeKind.DELIVERED] * 3
            assert receiver.connections() == 1

    @pytest.mark.parametrize(
        "certificate",
        [
            lambda authority: authority.server_context("receiver.example", self_signed=True),
            lambda authority: authority.server_context("receiver.example", expired=True),
            lambda authority: authority.server_context("other.example"),
        ],
        ids=["self-signed", "expired", "another name's"],
    )
    def test_any_other_certificate_is_not(
        self, send: Send, authority: Authority, certificate: Callable[[Authority], ssl.SSLContext]
    ) -> None:
        with HostileReceiver(saying(OK), tls=certificate(authority)) as receiver:
            url = receiver.url(host="receiver.example")
            outcome = send(url, ca_bundle=str(authority.bundle))
        assert outcome.kind is OutcomeKind.TLS_FAILED
        assert outcome.error.startswith("certificate not accepted")
        assert receiver.requests == []

    def test_an_authority_that_is_not_trusted_vouches_for_nobody(
        self, send: Send, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, str(authority.bundle))
        tls = authority.server_context("receiver.example")
        with HostileReceiver(saying(OK), tls=tls) as receiver:
            outcome = send(receiver.url(host="receiver.example"))
        assert outcome.kind is OutcomeKind.TLS_FAILED

    def test_a_receiver_that_speaks_none_is_a_failure(self, send: Send) -> None:
        with HostileReceiver(misbehaviours.answers_a_handshake_in_the_clear) as receiver:
            url = receiver.url(host="receiver.example", scheme="https")
            assert send(url).kind is OutcomeKind.TLS_FAILED

    def test_a_handshake_that_never_ends_is_timed_out(self, send: Send) -> None:
        with HostileReceiver(waits) as receiver:
            url = receiver.url(host="receiver.example", scheme="https")
            outcome = send(url, limits=HASTY)
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.duration_ms < GENEROUS_MS

    @each({"silence": waits, "drip": dripping(b"HTTP/1.1 200 OK")})
    def test_the_deadline_holds(
        self, send: Send, authority: Authority, behaviour: Behaviour
    ) -> None:
        tls = authority.server_context("receiver.example")
        with HostileReceiver(behaviour, tls=tls) as receiver:
            url = receiver.url(host="receiver.example")
            bundle = str(authority.bundle)
            outcome = send(url, body=bytes(20_000_000), ca_bundle=bundle, limits=HASTY)
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.duration_ms < GENEROUS_MS


DELAY = 0.2
DELAY_MS = 190
"""A little less than the delay, as clocks are rounded."""


slowly_answered = slowly(OK, seconds=DELAY)


def slowly_found(host: str) -> list[str]:
    sleep(DELAY)
    return ["127.0.0.1"]


def at_least(timing: int | None, least: int) -> bool:
    return timing is not None and timing >= least


class TestTimings:
    def test_an_address_has_no_look_up_and_http_no_handshake(self, send: Send) -> None:
        with HostileReceiver(saying(OK)) as receiver:
            timings = send(receiver.url()).timings
        assert (timings.dns, timings.tls) == (None, None)
        assert at_least(timings.connect, 0)
        assert at_least(timings.first_byte, 0)

    def test_each_step_is_timed_by_itself(self, send: Send, authority: Authority) -> None:
        tls = authority.server_context("receiver.example")
        tls.sni_callback = lambda *_: sleep(DELAY)
        with HostileReceiver(slowly_answered, tls=tls) as receiver:
            url = receiver.url(host="receiver.example")
            outcome = send(url, resolve=slowly_found, ca_bundle=str(authority.bundle))
        timings = outcome.timings
        assert at_least(timings.dns, DELAY_MS)
        assert at_least(timings.connect, 0)
        assert at_least(timings.tls, DELAY_MS)
        assert at_least(timings.first_byte, DELAY_MS)
        steps = [timings.dns, timings.connect, timings.tls, timings.first_byte]
        assert sum(step or 0 for step in steps) <= outcome.duration_ms + len(steps)

    def test_a_kept_connection_has_but_to_wait_for_the_response(
        self, make_sender: MakeSender, authority: Authority
    ) -> None:
        sender = make_sender(ca_bundle=str(authority.bundle))
        tls = authority.server_context("receiver.example")
        with HostileReceiver(slowly_answered, tls=tls) as receiver:
            request = OutgoingRequest(receiver.url(host="receiver.example"), {}, b"{}")
            sender.send(request)
            timings = sender.send(request).timings
            assert receiver.connections() == 1
        assert timings == Timings(first_byte=timings.first_byte)
        assert at_least(timings.first_byte, DELAY_MS)

    def test_what_is_known_when_the_time_is_up_is_kept(self, send: Send) -> None:
        with HostileReceiver(waits) as receiver:
            outcome = send(receiver.url(host="receiver.example"), limits=HASTY)
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert at_least(outcome.timings.dns, 0)
        assert at_least(outcome.timings.connect, 0)
        assert (outcome.timings.tls, outcome.timings.first_byte) == (None, None)

    def test_a_handshake_that_did_not_end_has_no_time(self, send: Send) -> None:
        with HostileReceiver(waits) as receiver:
            url = receiver.url(host="receiver.example").replace("http:", "https:")
            timings = send(url, limits=HASTY).timings
        assert at_least(timings.connect, 0)
        assert (timings.tls, timings.first_byte) == (None, None)

    def test_a_connection_that_was_not_made_has_no_time(self, send: Send) -> None:
        with deaf_address("127.0.0.1") as port:
            timings = send(f"http://receiver.example:{port}/", limits=HASTY).timings
        assert timings == Timings(dns=timings.dns)
        assert at_least(timings.dns, 0)

    def test_a_connection_that_is_closed_without_a_response_has_no_first_byte(
        self, send: Send
    ) -> None:
        with HostileReceiver(saying()) as receiver:
            timings = send(receiver.url()).timings
        assert timings == Timings(connect=timings.connect)

    def test_where_nothing_was_sent_there_is_nothing_to_time(self, send: Send) -> None:
        assert send("http://nobody.example/").timings == Timings()
        assert send("http://10.0.0.1/").timings == Timings()
