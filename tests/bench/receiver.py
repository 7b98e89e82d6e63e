"""The endpoint of the benchmarks: a process of its own that answers at once and counts.

`python -m tests.bench.receiver` prints its port. POST /slow answers after ten seconds, /after/0.2
after so many, any other path at once. GET /report tells what came since the last GET /reset, as
JSON.
"""

import asyncio
import json
import time

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SLOWNESS = 10.0
ID = b"webhook-id: "
LENGTH = b"content-length: "


class Tally:
    """What was received: each message's id, and when."""

    def __init__(self) -> None:
        self.times: dict[bytes, list[float]] = {}

    def report(self) -> bytes:
        return json.dumps(
            {message.decode(): times for message, times in self.times.items()}
        ).encode()


class Endpoint(asyncio.Protocol):
    """Reads requests by their bytes alone: the receiver must not be what limits the rate."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = value_of(head, LENGTH)
            size = end + 4 + (int(length) if length else 0)
            if len(self.buffer) < size:
                return
            self.buffer = self.buffer[size:]
            self.answer(head)

    def answer(self, head: bytes) -> None:
        if head.startswith(b"get /report"):
            body = self.tally.report()
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            return
        if head.startswith(b"get /reset"):
            self.tally.times.clear()
        elif message := value_of(head, ID):
            self.tally.times.setdefault(message, []).append(time.time())
        wait = SLOWNESS if head.startswith(b"post /slow") else wait_of(head)
        if wait:
            asyncio.get_running_loop().call_later(wait, self.transport.write, OK)
        else:
            self.transport.write(OK)


def wait_of(head: bytes) -> float:
    after = head.removeprefix(b"post /after/")
    return 0.0 if after == head else float(after.split(b" ", 1)[0])


def value_of(head: bytes, name: bytes) -> bytes:
    start = head.find(b"\r\n" + name)
    if start < 0:
        return b""
    start += 2 + len(name)
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)]


async def serve() -> None:
    tally = Tally()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Endpoint(tally), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
