"""What every sender withstands of a receiver that does its worst; the contract has more of it."""

import gzip
import ssl
import zlib
from itertools import repeat
from pathlib import Path

import pytest

from tests.webhooks.sending.certificates import Authority
from tests.webhooks.sending.conftest import MakeSender, Send
from tests.webhooks.sending.hostile_receiver import Behaviour, HostileReceiver, Peer
from tests.webhooks.sending.test_contract import (
    FULL_BUFFERS,
    GENEROUS_MS,
    HASTY,
    OK,
    forever,
    kept_alive,
    saying,
)
from tests.webhooks.sending.test_curl_sender import Frame, curl_only, frame, read_http_2
from webhooks.sending.outcome import OutcomeKind, OutgoingRequest

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
INJECTED = b"HTTP/1.1 500 Injected\r\nContent-Length: 0\r\n\r\n"

ZEROS = 50_000_000
"""In each of the bombs; `kept` of a body are 4096 bytes."""
MEMORY = 16_000_000


def zstd(count: int) -> bytes:
    """Zeros as one frame of run-length blocks (RFC 8878 3.1.1), of 128 KiB at most each."""
    most = 128 * 1024
    block = (most << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = (1 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x58" + block * (count // most) + last


BOMBS = {
    "gzip": gzip.compress(bytes(ZEROS)),
    "deflate": zlib.compress(bytes(ZEROS)),
    # Of 2**24 zeros (RFC 7932).
    "br": bytes.fromhex("cfffff7ff82700e2b14020f7fe7f"),
    "zstd": zstd(ZEROS),
}


def resetting(*data: bytes) -> Behaviour:
    """Answer one request so, and break the connection off once the client has read it."""

    def behave(peer: Peer) -> None:
        peer.read_request()
        for piece in data:
            peer.say(piece)
            # What is still under way when the connection is reset is lost.
            peer.over.wait(0.05)
        peer.reset()

    return behave


def flood(peer: Peer) -> None:
    """Say all there is to say before anything is asked."""
    for piece in repeat(b"x" * 10_000):
        peer.say(piece)


def peak_memory() -> int:
    """The most bytes that this process held in memory since the last `forget_peak`."""
    [line] = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    ]
    return int(line.split()[1]) * 1024


def forget_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


class TestHead:
    @pytest.mark.parametrize(
        "answer",
        [
            b"ok",
            b"\r\n\r\n" + OK,
            b"HTTP/1.1 000 Zero\r\n\r\n",
            b"HTTP/1.1 20 Short\r\n\r\n",
            b"HTTP/1.1 2000 Long\r\n\r\n",
            b"HTTP/1.1 -200 Less\r\n\r\n",
            b"HTTP/3 200 OK\r\n\r\n",
            HEAD + b" folded from nothing\r\nContent-Length: 0\r\n\r\n",
            HEAD + b"X\0: 1\r\nContent-Length: 0\r\n\r\n",
        ],
    )
    def test_what_is_not_http_is_invalid(self, send: Send, answer: bytes) -> None:
        with HostileReceiver(saying(answer)) as receiver:
            outcome = send(receiver.url())
        assert (outcome.kind, outcome.status) == (OutcomeKind.RESPONSE_INVALID, None)

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
            HEAD + b"X: folded\r\n once\r\n\ttwice\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.0 200 OK\r\n\r\nok",
        ],
        ids=["bare line feeds", "folded", "HTTP/1.0"],
    )
    def test_what_is_merely_old_is_read(self, send: Send, answer: bytes) -> None:
        with HostileReceiver(saying(answer)) as receiver:
            outcome = send(receiver.url())
        assert (outcome.kind, outcome.response_body) == (OutcomeKind.DELIVERED, "ok")

    @pytest.mark.parametrize(
        "line",
        [
            b"X: a\0b",
            b"X: a\rb",
            b"X: a\r",
            b"X: a\rRetry-After: 5",
            b"X : 1",
            b": 1",
            b"From me",
            b"Retry-After: \0\xff\xed\xa0\x80",
            b"Retry-After: " + b"9" * 10_000,
            b"Location: http://\0",
            b"Set-Cookie: \xff=\0; Domain=\r; Max-Age=" + b"9" * 5000,
        ],
    )
    def test_an_odd_header_is_refused_or_passed_over(self, send: Send, line: bytes) -> None:
        with HostileReceiver(saying(HEAD + line + b"\r\nContent-Length: 2\r\n\r\nok")) as receiver:
            outcome = send(receiver.url())
        if outcome.kind is OutcomeKind.DELIVERED:
            assert (outcome.status, outcome.response_body) == (200, "ok")
        else:
            assert (outcome.kind, outcome.status) == (OutcomeKind.RESPONSE_INVALID, None)
        assert outcome.error.isprintable()


class TestFraming:
    @pytest.mark.parametrize(
        "answer",
        [
            HEAD + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\nhello",
            HEAD + b"Content-Length: 2, 5\r\n\r\nhello",
            HEAD + b"Content-Length: 99999999999999999999999999\r\n\r\nhello",
            HEAD + b"Content-Length: " + b"9" * 60_000 + b"\r\n\r\nhello",
            HEAD + b"Content-Length: +5\r\n\r\nhello",
            HEAD + b"Content-Length: 0x5\r\n\r\nhello",
            HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
            CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
            CHUNKED + b"F" * 30 + b"\r\nhello\r\n0\r\n\r\n",
            CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
            CHUNKED + b"\r\n\r\n",
            CHUNKED + b"5 \0\r\nhello\r\n0\r\n\r\n",
        ],
    )
    def test_one_that_makes_no_sense_leaves_the_status_as_it_is(
        self, send: Send, answer: bytes
    ) -> None:
        with HostileReceiver(saying(answer)) as receiver:
            outcome = send(receiver.url())
        assert (outcome.kind, outcome.status) == (OutcomeKind.DELIVERED, 200)

    @pytest.mark.parametrize(
        "answer",
        [
            OK,
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
            HEAD + b"Content-Length: 0\r\n\r\nhello",
            HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            HEAD + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\nok",
            CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
        ],
        ids=[
            "length",
            "204",
            "204 with a body",
            "no body with a body",
            "chunked within length",
            "length within chunked",
            "two lengths",
            "chunked",
        ],
    )
    def test_what_comes_after_the_answer_answers_no_other_request(
        self, make_sender: MakeSender, answer: bytes
    ) -> None:
        sender = make_sender()

        def behave(peer: Peer) -> None:
            while peer.read_request():
                peer.say(answer + INJECTED)

        with HostileReceiver(behave) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}")
            kinds = [sender.send(request).kind for _ in range(3)]
            sender.close()
        assert kinds == [OutcomeKind.DELIVERED] * 3

    def test_two_lengths_cost_the_connection(self, make_sender: MakeSender) -> None:
        sender = make_sender()

        def behave(peer: Peer) -> None:
            while peer.read_request():
                peer.say(HEAD + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\nok")

        with HostileReceiver(behave) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}")
            kinds = [sender.send(request).kind for _ in range(2)]
            assert kinds == [OutcomeKind.DELIVERED] * 2
            assert receiver.connections() == 2
            sender.close()

    def test_an_answer_that_comes_with_the_connection_answers_one_request(
        self, make_sender: MakeSender
    ) -> None:
        sender = make_sender()

        def behave(peer: Peer) -> None:
            peer.say(OK)
            kept_alive(peer)

        with HostileReceiver(behave) as receiver:
            request = OutgoingRequest(receiver.url(), {}, b"{}")
            kinds = [sender.send(request).kind for _ in range(2)]
            sender.close()
        assert kinds == [OutcomeKind.DELIVERED] * 2

    @pytest.mark.parametrize("goes_on", [Peer.wait, lambda peer: None], ids=["deaf", "closed"])
    def test_an_answer_to_half_a_request_is_taken_or_the_deadline_holds(
        self, send: Send, goes_on: Behaviour
    ) -> None:
        def behave(peer: Peer) -> None:
            peer.say(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
            goes_on(peer)

        with HostileReceiver(behave) as receiver:
            outcome = send(receiver.url(), body=bytes(20_000_000), limits=HASTY)
        assert (outcome.kind, outcome.status) in [
            (OutcomeKind.REJECTED, 413),
            (OutcomeKind.TIMED_OUT, None),
            (OutcomeKind.CONNECTION_FAILED, None),
        ]
        assert outcome.duration_ms < GENEROUS_MS


class TestBody:
    @pytest.mark.parametrize("coding", BOMBS)
    @pytest.mark.parametrize("header", ["Content-Encoding", "Transfer-Encoding"])
    def test_a_compressed_one_is_not_unpacked(self, send: Send, coding: str, header: str) -> None:
        bomb = BOMBS[coding]
        head = f"HTTP/1.1 200 OK\r\n{header}: {coding}\r\nContent-Length: {len(bomb)}\r\n\r\n"
        with HostileReceiver(saying(head.encode(), bomb)) as receiver:
            before = forget_peak()
            outcome = send(receiver.url())
        assert outcome.kind is OutcomeKind.DELIVERED
        assert peak_memory() - before < MEMORY
        packed = bomb[:4096].decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
        assert outcome.response_body in {packed, ""}

    @pytest.mark.parametrize(
        "behaviour",
        [
            forever(b"x" * 65_536, after=HEAD + b"\r\n"),
            forever(b"10000\r\n" + b"x" * 0x10000 + b"\r\n", after=CHUNKED),
            forever(b"x" * 65_536, after=CHUNKED + b"1;"),
            forever(b"Trailer: x\r\n" * 1000, after=CHUNKED + b"0\r\n"),
            forever(b"x" * 65_536, after=HEAD + b"X: "),
            forever(b"X: 1\r\n" * 1000, after=HEAD),
            forever(b"HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n" * 1000),
        ],
        ids=["body", "chunks", "extension", "trailers", "header", "headers", "interim"],
    )
    def test_an_endless_answer_is_not_held_in_memory(
        self, send: Send, behaviour: Behaviour
    ) -> None:
        with HostileReceiver(behaviour) as receiver:
            before = forget_peak()
            send(receiver.url())
            assert peak_memory() - before < MEMORY
        assert receiver.peers[0].said < FULL_BUFFERS


class TestReset:
    @pytest.mark.parametrize(
        "behaviour",
        [
            Peer.reset,
            resetting(),
            resetting(b"HTTP/1.1 2"),
            resetting(HEAD),
            resetting(HEAD + b"X: 1\r\n"),
            resetting(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        ],
        ids=["at once", "request", "status line", "head", "headers", "interim response"],
    )
    def test_before_the_head_is_complete_it_is_a_failure(
        self, send: Send, behaviour: Behaviour
    ) -> None:
        with HostileReceiver(behaviour) as receiver:
            outcome = send(receiver.url())
        assert (outcome.kind, outcome.status) == (OutcomeKind.CONNECTION_FAILED, None)
        assert "connection" in outcome.error

    @pytest.mark.parametrize(
        "beginning",
        [HEAD + b"Content-Length: 9\r\n\r\nok", HEAD + b"\r\nok", CHUNKED + b"9\r\nok"],
        ids=["by length", "by close", "chunked"],
    )
    def test_within_the_body_it_leaves_the_status_as_it_is(
        self, send: Send, beginning: bytes
    ) -> None:
        with HostileReceiver(resetting(beginning)) as receiver:
            outcome = send(receiver.url())
        assert (outcome.kind, outcome.response_body) == (OutcomeKind.DELIVERED, "ok")


class TestAdvice:
    """Of the endpoint to come by another way: nobody takes it."""

    @pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 306, 307, 308, 399])
    @pytest.mark.parametrize("header", ["Location", "Refresh", "URI", "Content-Location"])
    def test_no_redirect_is_followed(self, send: Send, status: int, header: str) -> None:
        with HostileReceiver(saying(OK)) as elsewhere:
            there = elsewhere.url("/latest/meta-data")
            value = f"0;url={there}" if header == "Refresh" else there
            head = f"HTTP/1.1 {status} X\r\n{header}: {value}\r\nContent-Length: 0\r\n\r\n"
            with HostileReceiver(saying(head.encode())) as receiver:
                outcome = send(receiver.url())
                assert receiver.connections() == 1
            assert (outcome.kind, outcome.status) == (OutcomeKind.REDIRECTED, status)
            assert elsewhere.connections() == 0

    def test_neither_another_server_nor_another_scheme_is_remembered(
        self, make_sender: MakeSender, authority: Authority
    ) -> None:
        tls = authority.server_context("receiver.example")
        sender = make_sender(ca_bundle=str(authority.bundle))
        with (
            HostileReceiver(kept_alive) as trap,
            HostileReceiver(saying(OK)) as in_the_clear,
        ):
            advice = f'Alt-Svc: h2="receiver.example:{trap.port}"; ma=99, clear\r\n'
            advice += "Strict-Transport-Security: max-age=99; includeSubDomains\r\n"
            advice += "Upgrade: h2c\r\nConnection: Upgrade\r\n"
            answer = OK.replace(b"\r\n\r\n", b"\r\n" + advice.encode() + b"\r\n")
            with HostileReceiver(saying(answer), tls=tls) as receiver:
                for one in (receiver, receiver, in_the_clear):
                    request = OutgoingRequest(one.url(host="receiver.example"), {}, b"{}")
                    assert sender.send(request).kind is OutcomeKind.DELIVERED
                assert receiver.connections() == 2
            assert in_the_clear.requests
            assert trap.connections() == 0
            sender.close()


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


class TestTLS:
    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    def test_a_version_that_is_too_old_is_refused(self, send: Send, authority: Authority) -> None:
        tls = old(authority.server_context("receiver.example"))
        with HostileReceiver(saying(OK), tls=tls) as receiver:
            url = receiver.url(host="receiver.example")
            outcome = send(url, ca_bundle=str(authority.bundle))
        assert outcome.kind is OutcomeKind.TLS_FAILED
        assert "version" in outcome.error
        assert receiver.requests == []

    def test_a_cipher_without_authentication_is_refused(
        self, send: Send, authority: Authority
    ) -> None:
        tls = authority.server_context("receiver.example")
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        tls.set_ciphers("aNULL:@SECLEVEL=0")
        with HostileReceiver(saying(OK), tls=tls) as receiver:
            url = receiver.url(host="receiver.example")
            outcome = send(url, ca_bundle=str(authority.bundle))
        assert outcome.kind is OutcomeKind.TLS_FAILED
        assert receiver.requests == []

    def test_a_handshake_that_drips_is_timed_out(self, send: Send) -> None:
        # The beginning of a handshake record of 16 KiB, which is the largest (RFC 8446 5.1).
        record = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(16_000)
        with HostileReceiver(lambda peer: peer.drip(record)) as receiver:
            url = receiver.url(host="receiver.example").replace("http:", "https:")
            outcome = send(url, limits=HASTY)
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.duration_ms < GENEROUS_MS

    @pytest.mark.parametrize(
        ("behaviour", "kinds"),
        [
            (Peer.reset, {OutcomeKind.TLS_FAILED, OutcomeKind.CONNECTION_FAILED}),
            (lambda peer: None, {OutcomeKind.TLS_FAILED, OutcomeKind.CONNECTION_FAILED}),
            (flood, {OutcomeKind.TLS_FAILED}),
        ],
        ids=["reset", "closed", "flood"],
    )
    def test_a_handshake_that_breaks_off_is_a_failure(
        self, send: Send, behaviour: Behaviour, kinds: set[OutcomeKind]
    ) -> None:
        with HostileReceiver(behaviour) as receiver:
            url = receiver.url(host="receiver.example").replace("http:", "https:")
            outcome = send(url)
        assert outcome.kind in kinds
        assert outcome.error

    def test_a_body_that_ends_without_a_farewell_leaves_the_status_as_it_is(
        self, send: Send, authority: Authority
    ) -> None:
        tls = authority.server_context("receiver.example")
        with HostileReceiver(saying(HEAD + b"Content-Length: 9\r\n\r\nok"), tls=tls) as receiver:
            url = receiver.url(host="receiver.example")
            outcome = send(url, ca_bundle=str(authority.bundle))
        assert (outcome.kind, outcome.response_body) == (OutcomeKind.DELIVERED, "ok")


def endlessly(*frames: bytes) -> Behaviour:
    """Answer one request over HTTP/2 with frames, the last of them over and over."""

    def behave(peer: Peer) -> None:
        read_http_2(peer)
        peer.say(frame(Frame.SETTINGS, stream=0))
        for one in frames:
            peer.say(one)
        for last in repeat(frames[-1] * 100):
            peer.say(last)

    return behave


@curl_only
class TestHttp2:
    """The curl sender speaks it where it is offered; the other never does."""

    BROKEN_OFF = {OutcomeKind.CONNECTION_FAILED, OutcomeKind.RESPONSE_INVALID}
    """Which of them depends on the version of curl."""
    END_HEADERS = 4
    REFUSED_STREAM = b"\0\0\0\7"
    STATUS_200 = b"\x88"
    INTERIM = b"\x08\x03103"
    HEADER = b"\x00\x01x\x7f\x80\x07" + b"y" * 1023
    """Never indexed: a name of one letter and a value of 1023 (RFC 7541 6.2.2)."""

    @pytest.mark.parametrize(
        ("behaviour", "kinds"),
        [
            (
                endlessly(frame(Frame.PING, b"\0" * 8, stream=0)),
                BROKEN_OFF,
            ),
            (
                endlessly(frame(Frame.SETTINGS, stream=0)),
                BROKEN_OFF,
            ),
            (
                endlessly(frame(Frame.WINDOW_UPDATE, b"\0\0\0\1", stream=0)),
                {OutcomeKind.TIMED_OUT},
            ),
            (
                endlessly(frame(Frame.HEADERS, STATUS_200), frame(Frame.CONTINUATION, HEADER)),
                BROKEN_OFF,
            ),
            (
                endlessly(frame(Frame.HEADERS, STATUS_200), frame(Frame.CONTINUATION)),
                BROKEN_OFF,
            ),
            (
                endlessly(frame(Frame.HEADERS, INTERIM, flags=END_HEADERS)),
                {OutcomeKind.RESPONSE_INVALID},
            ),
            (
                endlessly(frame(Frame.HEADERS, STATUS_200 + HEADER * 15, flags=END_HEADERS)),
                {OutcomeKind.DELIVERED},
            ),
            (
                endlessly(
                    frame(Frame.HEADERS, STATUS_200, flags=END_HEADERS),
                    frame(Frame.DATA, b"x" * 16384),
                ),
                {OutcomeKind.DELIVERED},
            ),
            (
                endlessly(frame(Frame.HEADERS, STATUS_200, flags=END_HEADERS), frame(Frame.DATA)),
                {OutcomeKind.DELIVERED},
            ),
            (
                endlessly(frame(Frame.PUSH_PROMISE, b"\0\0\0\2" + STATUS_200, flags=END_HEADERS)),
                BROKEN_OFF,
            ),
            (
                endlessly(frame(Frame.RST_STREAM, REFUSED_STREAM)),
                BROKEN_OFF,
            ),
            (
                endlessly(frame(Frame.GOAWAY, b"\0" * 8, stream=0)),
                BROKEN_OFF,
            ),
            (endlessly(b"\xff" * 1000), BROKEN_OFF),
        ],
        ids=[
            "pings",
            "settings",
            "windows",
            "headers",
            "empty headers",
            "interim responses",
            "trailers",
            "body",
            "empty body",
            "pushes",
            "resets",
            "farewells",
            "nonsense",
        ],
    )
    def test_what_is_endless_is_cut(
        self,
        make_sender: MakeSender,
        authority: Authority,
        behaviour: Behaviour,
        kinds: set[OutcomeKind],
    ) -> None:
        tls = authority.server_context("receiver.example")
        tls.set_alpn_protocols(["h2"])
        sender = make_sender(ca_bundle=str(authority.bundle), limits=HASTY)
        with HostileReceiver(behaviour, tls=tls) as receiver:
            request = OutgoingRequest(receiver.url(host="receiver.example"), {}, b"{}")
            before = forget_peak()
            outcome = sender.send(request)
            assert peak_memory() - before < MEMORY
            sender.close()
        assert outcome.kind in kinds
        assert outcome.duration_ms < GENEROUS_MS
