"""HTTP connections: each answer in one packet, and an age after which a client is sent to a new connection.

A Service of Kubernetes chooses the pod of a connection, not of a request: who keeps a connection stays with
the version that it reached first. A server that ends connections, each with an answer that says so, lets
clients follow the Service, and no request fails through it.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

AGE_SPREAD = 0.1
"""Part of the age by which connections differ, so that those opened together do not all end together."""


def connection_protocol(
    max_age_seconds: float, *, spread: Callable[[], float] = random.random
) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, with connections that end.

    Args:
        max_age_seconds: after so long the next answer ends its connection (``Connection: close``);
            0 for never.
        spread: numbers from 0 to 1.
    """

    class AgeingConnection(HttpToolsProtocol):
        """A connection that ends with the first answer after its age."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(cast(asyncio.Transport, JoinedWrites(transport, self.loop)))
            factor = 1 + AGE_SPREAD * (2 * spread() - 1)
            self._ends_at = self.loop.time() + max_age_seconds * factor if max_age_seconds else float("inf")

        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            if self.loop.time() >= self._ends_at:
                self.cycle.keep_alive = False

    return AgeingConnection


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
