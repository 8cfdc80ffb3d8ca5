"""HTTP connections: each answer in one packet, heads within limits, and an age after which a client is sent
to a new connection.

A Service of Kubernetes chooses the pod of a connection, not of a request: who keeps a connection stays with
the version that it reached first. A server that ends connections, each with an answer that says so, lets
clients follow the Service, and no request fails through it.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mlinfra.serving.calls import error_answer
from mlinfra.serving.errors import HeadTooLargeError, RequestError, SlowRequestError

AGE_SPREAD = 0.1
"""Part of the age by which connections differ, so that those opened together do not all end together."""
MAX_HEAD_BYTES = 64 * 1024
"""Of a head that comes in more than one piece; one piece is bounded by what is read at once."""


def connection_protocol(
    max_age_seconds: float, *, head_seconds: float, spread: Callable[[], float] = random.random
) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, with connections that end.

    Args:
        max_age_seconds: after so long the next answer ends its connection (``Connection: close``);
            0 for never.
        head_seconds: for the head of a request to arrive.
        spread: numbers from 0 to 1.
    """

    class BoundedConnection(HttpToolsProtocol):
        """A connection that ends with the first answer after its age, and whose heads are bounded."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(cast(asyncio.Transport, JoinedWrites(transport, self.loop)))
            factor = 1 + AGE_SPREAD * (2 * spread() - 1)
            self._ends_at = self.loop.time() + max_age_seconds * factor if max_age_seconds else float("inf")
            self._in_head, self._head_bytes = True, 0
            self._head_timer: asyncio.TimerHandle | None = None
            self._await_head()

        def data_received(self, data: bytes) -> None:
            was_in_head = self._in_head
            super().data_received(data)
            if was_in_head and self._in_head:
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    self._refuse(HeadTooLargeError(f"a head has {MAX_HEAD_BYTES} bytes at most"))
            # uvicorn's timer of idle connections ends with any byte.
            if self._head_timer is None and not self._is_answering:
                self._await_head()

        def on_headers_complete(self) -> None:
            self._stop_timer()
            self._in_head, self._head_bytes = False, 0
            super().on_headers_complete()
            if self.loop.time() >= self._ends_at:
                self.cycle.keep_alive = False

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._in_head = True

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        @property
        def _is_answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _await_head(self) -> None:
            if not self.transport.is_closing():
                self._head_timer = self.loop.call_later(head_seconds, self._head_is_late)

        def _head_is_late(self) -> None:
            self._refuse(SlowRequestError(f"the head took more than {head_seconds:g} s"))

        def _stop_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _refuse(self, error: RequestError) -> None:
            """End the connection; who has asked for nothing, or is being answered, is told nothing."""
            self._stop_timer()
            if self._head_bytes and not self._is_answering:
                answer = error_answer(error)
                headers = [
                    (b"content-type", answer.content_type),
                    (b"content-length", str(len(answer.body)).encode()),
                    *answer.headers,
                ]
                lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
                self.transport.write(STATUS_LINE[answer.status] + lines + b"\r\n" + answer.body)
            self.transport.close()

    return BoundedConnection


class JoinedWrites:
    """A transport that sends an answer's head and body, written in one turn of the event loop, at once."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send when the turn ends."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Send what is written, and end."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))
