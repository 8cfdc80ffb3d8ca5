"""Asks a server as fast as it answers, over connections that stay open; the same for every server.

Usage: python -m benchmarks.serving.load URL BODY_FILE OUT_FILE --connections N [--requests N] [--rate N]

It says ``asking`` once the first request is answered. Without ``--requests`` it asks until SIGTERM; with
``--rate`` no more often than so many times a second, all connections together. OUT_FILE
is an .npz with the ``seconds`` of each request in the order in which the answers came, those of all together
(``wall``), and how many ``failed``: were answered by no 200, or by a connection that ended.
"""

import asyncio
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

import numpy as np
import typer

LONGEST_SECONDS = 4 * 3600
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
CLOSES = re.compile(rb"connection: *close", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """Sends one request after another, each when the one before is answered."""

    def __init__(self, request: bytes, shared: "Shared") -> None:
        self._request = request
        self._shared = shared
        self._buffer = b""
        self._sent = 0.0
        self._waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._send_when_due()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        found = LENGTH.search(head)
        if not separator or found is None or len(body) < int(found.group(1)):
            return
        self._shared.answered(time.perf_counter() - self._sent, head, body)
        self._buffer = b""
        self._waits = False
        if CLOSES.search(head):
            self._transport.close()
        else:
            self._send_when_due()

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.lost(unanswered=self._waits)

    def _send_when_due(self) -> None:
        pause = self._shared.pause()
        if pause > 0:
            asyncio.get_running_loop().call_later(pause, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if self._transport.is_closing():
            return
        if self._shared.take():
            self._waits = True
            self._sent = time.perf_counter()
            self._transport.write(self._request)
        else:
            self._transport.close()


class Shared:
    """What the connections have in common.

    Args:
        requests: how many are left to ask; None for any number.
        rate: the most a second.
        connect: opens a connection in the place of one that the server closed with its answer.
    """

    def __init__(self, requests: int | None, rate: float | None, connect: Callable[[], None]) -> None:
        self._left = requests
        self._open = 0
        self._rate = rate
        self._connect = connect
        self._started = time.perf_counter()
        self.seconds: list[float] = []
        self.failures: list[bytes] = []
        self.done = asyncio.Event()

    def open(self) -> None:
        """One more connection."""
        self._open += 1
        self._connect()

    def take(self) -> bool:
        if self._left is None:
            return True
        self._left -= 1
        return self._left >= 0

    def stop(self) -> None:
        """Let what is asked be answered, and ask no more."""
        self._left = 0

    def pause(self) -> float:
        """Seconds until the next request is due."""
        if self._rate is None:
            return 0.0
        return self._started + len(self.seconds) / self._rate - time.perf_counter()

    def answered(self, seconds: float, head: bytes, body: bytes) -> None:
        if not self.seconds:
            sys.stdout.write("asking\n")
            sys.stdout.flush()
        self.seconds.append(seconds)
        if not head.startswith(b"HTTP/1.1 200"):
            self.failures.append(head + body)

    def lost(self, *, unanswered: bool) -> None:
        if unanswered:
            self.failures.append(b"a connection ended before the answer")
        self._open -= 1
        if not unanswered and (self._left is None or self._left > 0):
            self.open()
        elif self._open == 0:
            self.done.set()


async def ask(url: str, body: bytes, *, connections: int, requests: int | None, rate: float | None) -> Shared:
    """Ask until so many requests are answered, or until SIGTERM."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{url} names no host and port")
    host, port = parts.hostname, parts.port
    head = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    opening: set[asyncio.Task[Any]] = set()

    def connect() -> None:
        protocol = Connection(head.encode() + body, shared)
        task = loop.create_task(loop.create_connection(lambda: protocol, host, port))
        opening.add(task)
        task.add_done_callback(opened)

    def opened(task: asyncio.Task[Any]) -> None:
        opening.discard(task)
        if task.exception() is not None:
            shared.lost(unanswered=True)

    shared = Shared(requests, rate, connect)
    loop.add_signal_handler(signal.SIGTERM, shared.stop)
    for _ in range(connections):
        shared.open()
    async with asyncio.timeout(LONGEST_SECONDS):
        await shared.done.wait()
    return shared


def main(
    url: str,
    body_file: Path,
    out_file: Path,
    connections: Annotated[int, typer.Option(min=1)] = 1,
    requests: Annotated[int | None, typer.Option(min=1)] = None,
    rate: Annotated[float | None, typer.Option(min=0.1)] = None,
) -> None:
    """Ask, and keep how long each answer took."""
    import uvloop

    body = body_file.read_bytes()
    started = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        shared = runner.run(ask(url, body, connections=connections, requests=requests, rate=rate))
    wall = time.perf_counter() - started
    if shared.failures:
        typer.echo(f"{len(shared.failures)} failed, the first: {shared.failures[0]!r:.500}", err=True)
    np.savez(out_file, seconds=np.array(shared.seconds), wall=wall, failed=len(shared.failures))


if __name__ == "__main__":
    typer.run(main)
