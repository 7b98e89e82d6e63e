"""What a receiver may do to us: a coroutine of a connection's reader and writer for each sentence.

The subject of the sentences is the receiver. Those of a group must all end alike.
"""

import gzip
import zlib
from itertools import repeat

from tests.webhooks.sending import http_2
from tests.webhooks.sending.behaviours import (
    CHUNKED,
    HEAD,
    OK,
    always_saying,
    answer,
    closes,
    dripping,
    forever,
    kept_alive,
    resetting,
    saying,
    stalling,
    unasked,
    waits,
)
from tests.webhooks.sending.hostile_receiver import Behaviour, Reader, Writer
from tests.webhooks.sending.http_2 import END_HEADERS, STATUS_200, Frame, frame

Group = dict[str, Behaviour]

NOWHERE = "http://127.0.0.1:1/"
"""Leads to nobody."""


# The connection


async def floods(reader: Reader, writer: Writer) -> None:
    """Say all there is to say before anything is asked."""
    for piece in repeat(b"x" * 10_000):
        await writer.say(piece)


async def resets(reader: Reader, writer: Writer) -> None:
    writer.reset()


async def reads_and_closes(reader: Reader, writer: Writer) -> None:
    await reader.request()


async def closes_its_first_connection_on_a_second_request(reader: Reader, writer: Writer) -> None:
    await saying(OK)(reader, writer)
    if writer.number == 1:
        await reader.request()


async def answers_once_and_drips_from_then_on(reader: Reader, writer: Writer) -> None:
    await saying(OK)(reader, writer)
    await dripping(b"HTTP/1.1 200 OK")(reader, writer)


CLOSED_WHILE_IDLE: Group = {
    "closes a connection once it has read the next request": (
        closes_its_first_connection_on_a_second_request
    ),
    "closes every connection after its answer": saying(OK),
}

RESETS_BEFORE_THE_END_OF_THE_HEAD: Group = {
    "resets at once": resets,
    "resets after the request": resetting(),
    "resets within the status line": resetting(b"HTTP/1.1 2"),
    "resets after the status line": resetting(HEAD),
    "resets within the headers": resetting(HEAD + b"X: 1\r\n"),
    "resets after an interim response": resetting(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}

RESETS_WITHIN_THE_BODY: Group = {
    "resets within a body that has a length": resetting(HEAD + b"Content-Length: 9\r\n\r\nok"),
    "resets within a body that has none": resetting(HEAD + b"\r\nok"),
    "resets within a chunk": resetting(CHUNKED + b"9\r\nok"),
}

GOES_WITHOUT_AN_ANSWER: Group = {
    "closes at once": closes,
    "closes after the request": reads_and_closes,
}

ANSWERS_TO_HALF_A_REQUEST: Group = {
    "answers to half a request and reads no more": unasked(answer(413, b""), waits),
    "answers to half a request and closes": unasked(answer(413, b""), closes),
}

WITHOUT_READING: Group = ANSWERS_TO_HALF_A_REQUEST | {"neither reads nor answers": waits}

# The TLS handshake, with a client that begins one

# The beginning of a handshake record of 16 KiB, which is the largest (RFC 8446 5.1).
_RECORD = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(16_000)


async def drips_its_handshake(reader: Reader, writer: Writer) -> None:
    await writer.drip(_RECORD)


async def answers_a_handshake_in_the_clear(reader: Reader, writer: Writer) -> None:
    await writer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")


ON_A_HANDSHAKE: Group = {
    "says nothing to a handshake": waits,
    "drips its handshake": drips_its_handshake,
    "resets on a handshake": resets,
    "closes on a handshake": closes,
    "floods a handshake": floods,
    "answers a handshake in the clear": answers_a_handshake_in_the_clear,
}

# The head

NO_STATUS: Group = {
    "greets as an SSH server": saying(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "answers in control characters": saying(b"\0\1\2\3\4\5\6\7\r\n\r\n"),
    "answers in HTML": saying(b"<html>\n"),
    "gives no status": saying(b"HTTP/1.1\r\n\r\n"),
    "gives a status in letters": saying(b"HTTP/1.1 abc OK\r\n\r\n"),
}

NOT_HTTP: Group = NO_STATUS | {
    "answers over HTTP/0.9": saying(b"ok"),
    "answers over HTTP/3": saying(b"HTTP/3 200 OK\r\n\r\n"),
    "says nothing in two lines before its answer": saying(b"\r\n\r\n" + OK),
    "gives a status of zero": saying(b"HTTP/1.1 000 Zero\r\n\r\n"),
    "gives a status of two digits": saying(b"HTTP/1.1 20 Short\r\n\r\n"),
    "gives a status of four digits": saying(b"HTTP/1.1 2000 Long\r\n\r\n"),
    "gives a status below zero": saying(b"HTTP/1.1 -200 Less\r\n\r\n"),
    "sends a header without a colon": saying(
        HEAD + b"no header at all\r\nContent-Length: 0\r\n\r\n"
    ),
    "folds a header where there is none": saying(
        HEAD + b" folded from nothing\r\nContent-Length: 0\r\n\r\n"
    ),
    "sends a NUL in the name of a header": saying(HEAD + b"X\0: 1\r\nContent-Length: 0\r\n\r\n"),
}

HALF_A_HEAD: Group = {
    "closes after the status line": saying(HEAD),
    "closes within the headers": saying(HEAD + b"X: 1\r\n"),
}

SWITCHES_PROTOCOLS: Group = {
    "switches protocols unasked": saying(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"
    ),
}

HEADS_TOO_LONG: Group = {
    "sends a header of 200 kB": saying(HEAD + b"X: %s\r\n\r\n" % (b"x" * 200_000)),
    "sends 10,000 headers": saying(HEAD, b"X-Header: 1\r\n" * 10_000, b"\r\n"),
    "sends ten headers of 50 kB": saying(HEAD, b"X: %s\r\n" % (b"x" * 50_000) * 10, b"\r\n"),
}

HEADS_WITHOUT_END: Group = {
    "sends a status line without end": forever(b"x" * 1000, after=b"HTTP/1.1 200 "),
    "sends the name of a header without end": forever(b"X" * 1000, after=HEAD),
    "sends the value of a header without end": forever(b"x" * 65_536, after=HEAD + b"X: "),
    "sends headers without end": forever(b"X: 1\r\n" * 1000, after=HEAD),
}

INTERIM_RESPONSES_WITHOUT_END: Group = {
    "continues without end": forever(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "hints without end": forever(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "hints in headers without end": forever(b"HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n" * 1000),
}

DRIPPING_HEADS: Group = {
    "reads and never answers": stalling(),
    "stops within the status line": stalling(b"HTTP/1.1 20"),
    "drips its status line": dripping(b"HTTP/1.1 200 OK"),
    "drips a header": dripping(b"x", after=HEAD + b"X: "),
    "drips its headers": dripping(b"X: 1\r\n", after=HEAD),
    "drips interim responses": dripping(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}

ODD_HEADERS: Group = {
    f"sends {what}": saying(HEAD + line + b"\r\nContent-Length: 2\r\n\r\nok")
    for what, line in {
        "a NUL in a header": b"X: a\0b",
        "a carriage return in a header": b"X: a\rb",
        "a carriage return behind a header": b"X: a\r",
        "a header behind a carriage return": b"X: a\rRetry-After: 5",
        "a space before the colon": b"X : 1",
        "a header without a name": b": 1",
        "the line of a mailbox": b"From me",
        "a wait of bad UTF-8": b"Retry-After: \0\xff\xed\xa0\x80",
        "a wait of 10,000 digits": b"Retry-After: " + b"9" * 10_000,
        "a NUL in a location": b"Location: http://\0",
        "a cookie of nonsense": b"Set-Cookie: \xff=\0; Domain=\r; Max-Age=" + b"9" * 5000,
    }.items()
}

OLD_WAYS: Group = {
    "ends its lines with bare line feeds": saying(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    "folds a header": saying(
        HEAD + b"X: folded\r\n once\r\n\ttwice\r\nContent-Length: 2\r\n\r\nok"
    ),
    "answers over HTTP/1.0": saying(b"HTTP/1.0 200 OK\r\n\r\nok"),
}

COOKIES: Group = {
    "sets a cookie with every answer": always_saying(
        answer(200, b"", b"Set-Cookie: a=b; Max-Age=9")
    )
}

# The body


def bodies_without_end(status: int) -> Group:
    head = b"HTTP/1.1 %d X\r\n" % status
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    return {
        "sends a body of a terabyte": forever(
            b"x" * 10_000, after=head + b"Content-Length: 1099511627776\r\n\r\n"
        ),
        "sends a body without end": forever(b"x" * 65_536, after=head + b"\r\n"),
        "sends chunks without end": forever(chunk * 16, after=chunked),
        "sends chunks with long extensions": forever(
            b"1;" + b"x" * 1000 + b"\r\nx\r\n", after=chunked
        ),
        "sends the extension of a chunk without end": forever(b"x" * 65_536, after=chunked + b"1;"),
        "sends trailers without end": forever(b"Trailer: x\r\n" * 1000, after=chunked + b"0\r\n"),
    }


def dripping_bodies(status: int) -> Group:
    head = b"HTTP/1.1 %d X\r\n" % status
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    return {
        "drips a body that has a length": dripping(
            b"x", after=head + b"Content-Length: 10000\r\n\r\n"
        ),
        "drips a body that has none": dripping(b"x", after=head + b"\r\n"),
        "drips chunks": dripping(b"1\r\nx\r\n", after=chunked),
        "drips the extension of a chunk": dripping(b"x", after=chunked + b"1;"),
        "drips trailers": dripping(b"Trailer: x\r\n", after=chunked + b"0\r\n"),
    }


ZEROS = 50_000_000


def _zstd(count: int) -> bytes:
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
    "zstd": _zstd(ZEROS),
}
CODINGS = ("Content-Encoding", "Transfer-Encoding")


def bomb(coding: str, header: str) -> Behaviour:
    """Answers with zeros beyond number in a few bytes."""
    return saying(answer(200, BOMBS[coding], f"{header}: {coding}".encode()))


BROKEN_BODIES: Group = {
    f"answers with {what}": saying(data)
    for what, data in {
        "less than its length": HEAD + b"Content-Length: 100\r\n\r\nok",
        "more than its length": HEAD + b"Content-Length: 2\r\n\r\nok, and more than was promised",
        "a length of nonsense": HEAD + b"Content-Length: nonsense\r\n\r\nok",
        "a length below zero": HEAD + b"Content-Length: -1\r\n\r\nok",
        "a length that has a sign": HEAD + b"Content-Length: +5\r\n\r\nhello",
        "a length in hexadecimal": HEAD + b"Content-Length: 0x5\r\n\r\nhello",
        "a length of 26 digits": HEAD + b"Content-Length: " + b"9" * 26 + b"\r\n\r\nhello",
        "a length of 60,000 digits": HEAD + b"Content-Length: " + b"9" * 60_000 + b"\r\n\r\nhello",
        "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\nhello",
        "two lengths in one header": HEAD + b"Content-Length: 2, 5\r\n\r\nhello",
        "a coding of nonsense": HEAD + b"Transfer-Encoding: nonsense\r\n\r\nok",
        "chunks said to be compressed": (
            HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ),
        "chunks said to be of chunks": (
            HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ),
        "a chunk of nonsense": CHUNKED + b"2\r\nok\r\nnonsense\r\n",
        "chunks without an end": CHUNKED + b"2\r\nok",
        "a chunk of a length below zero": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
        "a chunk of a length that has a prefix": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
        "a chunk of a length of 30 digits": CHUNKED + b"F" * 30 + b"\r\nhello\r\n0\r\n\r\n",
        "a chunk of more than its length": CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
        "a chunk of no length": CHUNKED + b"\r\n\r\n",
        "a NUL behind the length of a chunk": CHUNKED + b"5 \0\r\nhello\r\n0\r\n\r\n",
    }.items()
}

UNSTORABLE: Group = {
    "answers with NULs and bad UTF-8": saying(
        b"HTTP/1.1 500 \xff\r\nContent-Length: 9\r\n\r\na\0b\xff\xfe\xed\xa0\x80z"
    ),
}

# What comes after it

INJECTED = answer(500, b"")

ANSWERS_WITHIN_ANSWERS: Group = {
    f"sends another answer behind {what}": always_saying(data + INJECTED)
    for what, data in {
        "a length": OK,
        "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
        "no content of a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        "a body where there is none": HEAD + b"Content-Length: 0\r\n\r\nhello",
        "chunks behind a length": (
            HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        "chunks before a length": (
            HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        ),
        "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\nok",
        "chunks": CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
    }.items()
}

TWO_LENGTHS: Group = {
    "gives two lengths to every body": always_saying(
        HEAD + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\nok"
    ),
}

UNASKED: Group = {
    "answers before it is asked": unasked(OK, kept_alive),
    "answers twice": always_saying(OK + answer(500, b"ok")),
}

ONCE_AND_THEN_DRIPS: Group = {
    "answers once and drips from then on": answers_once_and_drips_from_then_on,
}

# Elsewhere

REDIRECTS = (300, 301, 302, 303, 304, 305, 306, 307, 308, 399)
POINTERS = ("Location", "Refresh", "URI", "Content-Location")


def pointing(status: int, header: str, there: str) -> Behaviour:
    """Answers that the endpoint is elsewhere."""
    value = f"0;url={there}" if header == "Refresh" else there
    return saying(answer(status, b"", f"{header}: {value}".encode()))


def advising(port: int) -> Behaviour:
    """Answers as it should be, and advises to come by another way from then on."""
    advice = [
        f'Alt-Svc: h2="receiver.example:{port}"; ma=99, clear',
        "Strict-Transport-Security: max-age=99; includeSubDomains",
        "Upgrade: h2c",
        "Connection: Upgrade",
    ]
    return saying(answer(200, b"ok", "\r\n".join(advice).encode()))


REDIRECTS_TO_NONSENSE: Group = {
    f"redirects to {what}": saying(answer(302, b"", b"Location: " + location))
    for what, location in {
        "half an address": b"http://[",
        "a scheme of bad UTF-8": b"\xff\xfe://",
        "a backslash": b"//\\x",
        "a port in hexadecimal": b"http://:0x/",
    }.items()
}

# A token for us (RFC 6749 5)

NO_TOKENS: Group = {
    "issues no token but a fault of its own": saying(answer(500, b"oops")),
    "issues no token and tells why": saying(answer(400, b'{"error": "invalid_scope"}')),
    "issues no token and tells the secret": saying(answer(400, b'{"error": "my secret"}')),
    "issues no token but a redirect": saying(answer(302, b"")),
    "issues HTML for a token": saying(answer(200, b"<html>")),
    "issues brackets without end for a token": saying(answer(200, b"[" * 30_000)),
    "issues a token that splits a header": saying(answer(200, b'{"access_token": "a\\r\\nb: c"}')),
    "issues a number for a token": saying(answer(200, b'{"access_token": 5}')),
    "issues a token of 40 kB": saying(answer(200, b'{"access_token": "%s"}' % (b"x" * 40_000))),
    "issues a token of another type": saying(
        answer(200, b'{"access_token": "t", "token_type": "mac"}')
    ),
}

# HTTP/2

_HEADER = b"\x00\x01x\x7f\x80\x07" + b"y" * 1023
"""Never indexed: a name of one letter and a value of 1023 (RFC 7541 6.2.2)."""
_INTERIM = b"\x08\x03103"
_REFUSED_STREAM = b"\0\0\0\7"
_PUSH = b"\0\0\0\2" + STATUS_200
_STATUS = frame(Frame.HEADERS, STATUS_200, flags=END_HEADERS)

OVER_HTTP_2: Group = {
    f"sends {what} without end over HTTP/2": http_2.endlessly(*frames)
    for what, frames in {
        "pings": [frame(Frame.PING, b"\0" * 8, stream=0)],
        "settings": [frame(Frame.SETTINGS, stream=0)],
        "windows": [frame(Frame.WINDOW_UPDATE, b"\0\0\0\1", stream=0)],
        "headers": [frame(Frame.HEADERS, STATUS_200), frame(Frame.CONTINUATION, _HEADER)],
        "empty headers": [frame(Frame.HEADERS, STATUS_200), frame(Frame.CONTINUATION)],
        "interim responses": [frame(Frame.HEADERS, _INTERIM, flags=END_HEADERS)],
        "trailers": [frame(Frame.HEADERS, STATUS_200 + _HEADER * 15, flags=END_HEADERS)],
        "a body": [_STATUS, frame(Frame.DATA, b"x" * 16_384)],
        "an empty body": [_STATUS, frame(Frame.DATA)],
        "pushes": [frame(Frame.PUSH_PROMISE, _PUSH, flags=END_HEADERS)],
        "resets": [frame(Frame.RST_STREAM, _REFUSED_STREAM)],
        "farewells": [frame(Frame.GOAWAY, b"\0" * 8, stream=0)],
        "nonsense": [b"\xff" * 1000],
    }.items()
}


def _all_of(*groups: Group) -> Group:
    catalogue = {sentence: one for group in groups for sentence, one in group.items()}
    assert len(catalogue) == sum(map(len, groups)), "two misbehaviours of one name"
    return catalogue


WITHOUT_END = _all_of(HEADS_WITHOUT_END, INTERIM_RESPONSES_WITHOUT_END, bodies_without_end(200))

OVER_HTTP_1 = _all_of(
    CLOSED_WHILE_IDLE,
    RESETS_BEFORE_THE_END_OF_THE_HEAD,
    RESETS_WITHIN_THE_BODY,
    GOES_WITHOUT_AN_ANSWER,
    WITHOUT_READING,
    NOT_HTTP,
    HALF_A_HEAD,
    SWITCHES_PROTOCOLS,
    HEADS_TOO_LONG,
    HEADS_WITHOUT_END,
    INTERIM_RESPONSES_WITHOUT_END,
    DRIPPING_HEADS,
    ODD_HEADERS,
    OLD_WAYS,
    COOKIES,
    bodies_without_end(200),
    dripping_bodies(200),
    {
        f"answers with a bomb of {coding} in {header}": bomb(coding, header)
        for coding in BOMBS
        for header in CODINGS
    },
    BROKEN_BODIES,
    UNSTORABLE,
    ANSWERS_WITHIN_ANSWERS,
    TWO_LENGTHS,
    UNASKED,
    ONCE_AND_THEN_DRIPS,
    {
        f"redirects by {status} in {header}": pointing(status, header, NOWHERE)
        for status in REDIRECTS
        for header in POINTERS
    },
    REDIRECTS_TO_NONSENSE,
    NO_TOKENS,
    {"advises to come by another way": advising(1)},
)
