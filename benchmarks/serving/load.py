"""Asks a server as fast as it answers, over connections that stay open; the same for every server.

Usage: python -m benchmarks.serving.load URL BODY_FILE OUT_FILE --connections N --requests N

The seconds of each request go to OUT_FILE as a numpy array, in the order in which the answers came; the
exit code is 1 where one of them is no 200.
"""

import asyncio
import re
import time
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import urlsplit

import numpy as np
import typer

LONGEST_SECONDS = 300
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """Sends one request after another, each when the one before is answered."""

    def __init__(self, request: bytes, shared: "Shared") -> None:
        self._request = request
        self._shared = shared
        self._buffer = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        found = LENGTH.search(head)
        if not separator or found is None or len(body) < int(found.group(1)):
            return
        self._shared.answered(time.perf_counter() - self._sent, head, body)
        self._buffer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.lost()

    def _send(self) -> None:
        if self._shared.take():
            self._sent = time.perf_counter()
            self._transport.write(self._request)
        else:
            self._transport.close()


class Shared:
    """What the connections have in common."""

    def __init__(self, requests: int, connections: int) -> None:
        self._left = requests
        self._open = connections
        self.seconds: list[float] = []
        self.failures: list[bytes] = []
        self.done = asyncio.Event()

    def take(self) -> bool:
        self._left -= 1
        return self._left >= 0

    def answered(self, seconds: float, head: bytes, body: bytes) -> None:
        self.seconds.append(seconds)
        if not head.startswith(b"HTTP/1.1 200"):
            self.failures.append(head + body)

    def lost(self) -> None:
        self._open -= 1
        if self._open == 0:
            self.done.set()


async def ask(url: str, body: bytes, *, connections: int, requests: int) -> Shared:
    """Ask until so many requests are answered."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    shared = Shared(requests, connections)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(
            lambda: Connection(head.encode() + body, shared), parts.hostname, parts.port
        )
    async with asyncio.timeout(LONGEST_SECONDS):
        await shared.done.wait()
    return shared


def main(
    url: str,
    body_file: Path,
    out_file: Path,
    connections: Annotated[int, typer.Option(min=1)] = 1,
    requests: Annotated[int, typer.Option(min=1)] = 1000,
) -> None:
    """Ask, and keep how long each answer took."""
    import uvloop

    started = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        shared = runner.run(ask(url, body_file.read_bytes(), connections=connections, requests=requests))
    np.save(out_file, np.array([time.perf_counter() - started, *shared.seconds]))
    if shared.failures or len(shared.seconds) != requests:
        typer.echo(f"{len(shared.failures)} failed of {len(shared.seconds)}: {shared.failures[:1]}", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
