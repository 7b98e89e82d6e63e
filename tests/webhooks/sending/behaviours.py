"""Ways to treat a connection, of which good behaviour and bad is made."""

import asyncio
import json
from itertools import repeat

from tests.webhooks.sending.hostile_receiver import Behaviour, Reader, Writer

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\nok"
UNAUTHORIZED = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"


def answer(status: int, body: bytes, header: bytes = b"") -> bytes:
    """A whole response, with one more header if one is given."""
    head = b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n"
    return head % (status, header and header + b"\r\n", len(body)) + body


def saying(*data: bytes) -> Behaviour:
    """Answer one request so, and close."""

    async def behave(reader: Reader, writer: Writer) -> None:
        await reader.request()
        for piece in data:
            await writer.say(piece)

    return behave


def always_saying(data: bytes) -> Behaviour:
    """Answer every request so."""

    async def behave(reader: Reader, writer: Writer) -> None:
        while await reader.request():
            await writer.say(data)

    return behave


def forever(data: bytes, *, after: bytes = b"") -> Behaviour:
    """Answer one request with something that never ends."""

    async def behave(reader: Reader, writer: Writer) -> None:
        await reader.request()
        await writer.say(after)
        for piece in repeat(data):
            await writer.say(piece)

    return behave


def dripping(data: bytes, *, after: bytes = b"") -> Behaviour:
    """Answer one request with a byte now and then, for far longer than anybody waits."""

    async def behave(reader: Reader, writer: Writer) -> None:
        await reader.request()
        await writer.say(after)
        await writer.drip(data * 1000)

    return behave


def stalling(*data: bytes) -> Behaviour:
    """Answer one request so, and say no more until the test is over."""

    async def behave(reader: Reader, writer: Writer) -> None:
        await saying(*data)(reader, writer)
        await waits(reader, writer)

    return behave


def resetting(*data: bytes) -> Behaviour:
    """Answer one request so, and break the connection off once the client has read it."""

    async def behave(reader: Reader, writer: Writer) -> None:
        await reader.request()
        for piece in data:
            await writer.say(piece)
            # What is still under way when the connection is reset is lost.
            await asyncio.sleep(0.1)
        writer.reset()

    return behave


def unasked(data: bytes, then: Behaviour) -> Behaviour:
    """Say something before anything is asked."""

    async def behave(reader: Reader, writer: Writer) -> None:
        await writer.say(data)
        await then(reader, writer)

    return behave


def slowly(data: bytes, *, seconds: float) -> Behaviour:
    """Answer every request so, after a while."""

    async def behave(reader: Reader, writer: Writer) -> None:
        while await reader.request():
            await asyncio.sleep(seconds)
            await writer.say(data)

    return behave


kept_alive = always_saying(OK)


async def echo(reader: Reader, writer: Writer) -> None:
    """Answer every request with its own headers."""
    while request := await reader.request():
        told = "\n".join(f"{name}: {value}" for name, value in request.headers)
        await writer.say(answer(200, told.encode()))


async def telling_who(reader: Reader, writer: Writer) -> None:
    """Answer every request with the common name of the client's certificate."""
    while await reader.request():
        names = [value for [(_, value)] in writer.peer_certificate.get("subject", ())]
        await writer.say(answer(200, json.dumps(names).encode()))


async def closes(reader: Reader, writer: Writer) -> None:
    """Neither read nor say anything."""


async def waits(reader: Reader, writer: Writer) -> None:
    """Say nothing and keep the connection open until the test is over."""
    await asyncio.Event().wait()
