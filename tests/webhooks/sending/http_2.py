"""HTTP/2 as far as a receiver needs it to misbehave (RFC 9113)."""

import struct
from enum import IntEnum
from itertools import repeat

from tests.webhooks.sending.behaviours import waits
from tests.webhooks.sending.hostile_receiver import Behaviour, Reader, Writer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, END_HEADERS = 1, 4
STATUS_200 = b"\x88"


class Frame(IntEnum):
    """The kinds of RFC 9113 6."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


def frame(kind: Frame, payload: bytes = b"", *, flags: int = 0, stream: int = 1) -> bytes:
    """One of HTTP/2; a client's first request is stream 1."""
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


async def read_request(reader: Reader) -> None:
    """Read one request over HTTP/2 to its end, or the beginning of one over HTTP/1.1."""
    if await reader.bytes(len(PREFACE)) != PREFACE:
        return
    kind = flags = -1
    while kind != Frame.DATA or not flags & END_STREAM:
        *length, kind, flags = await reader.bytes(5)
        await reader.bytes(4 + int.from_bytes(length, "big"))


async def answers_200(reader: Reader, writer: Writer) -> None:
    """Answer one request with a status and nothing else."""
    await writer.say(frame(Frame.SETTINGS, stream=0))
    await read_request(reader)
    await writer.say(frame(Frame.HEADERS, STATUS_200, flags=END_STREAM | END_HEADERS))
    await waits(reader, writer)


def endlessly(*frames: bytes) -> Behaviour:
    """Answer one request with frames, the last of them over and over."""

    async def behave(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        await writer.say(frame(Frame.SETTINGS, stream=0))
        for one in frames:
            await writer.say(one)
        for last in repeat(frames[-1] * 100):
            await writer.say(last)

    return behave
