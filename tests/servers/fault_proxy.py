"""A proxy before the API server or MLflow that goes silent, refuses, or loses answers, as a test asks."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp import web

HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive", "host"})
Matches = Callable[[web.Request], bool]


@dataclass(slots=True)
class Fault:
    """What the next requests of a kind get instead of their answer.

    Attributes:
        matches: which requests.
        status: HTTP status of the answer; None closes the connection without one.
        headers, text: of the answer.
        times: how many requests get it.
        hold: where given, the request reaches the server once it is set, and meets no other fault.
        carried_out: whether the server carries the request out all the same.
        met: how many requests got it so far.
    """

    matches: Matches
    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    times: int = 1
    carried_out: bool = False
    hold: asyncio.Event | None = None
    met: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that the server was asked, and the status of its answer.

    Attributes:
        target: path and query.
    """

    method: str
    target: str
    content_type: str
    body: bytes
    status: int


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of what HTTPS needs.

    Attributes:
        authority: the certificate that signed the server's and ours.
        certificate, key: of 127.0.0.1.
    """

    authority: Path
    certificate: Path
    key: Path


class FaultProxy:
    """On a free port of 127.0.0.1; use it as a context manager.

    Args:
        upstream: address of the server.
        https: with which certificates; None for plain HTTP.
    """

    def __init__(self, upstream: str, https: Certificates | None = None) -> None:
        self._upstream = upstream
        self._trust: ssl.SSLContext | bool = True
        self._identity: ssl.SSLContext | None = None
        if https is not None:
            self._trust = ssl.create_default_context(cafile=str(https.authority))
            self._identity = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._identity.load_cert_chain(https.certificate, https.key)
        self._faults: list[Fault] = []
        self._open: set[web.StreamResponse] = set()
        self._deaf: set[web.StreamResponse] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._port = 0
        self._runner: web.AppRunner
        self._session: aiohttp.ClientSession
        self.seen: list[Seen] = []
        self.page_size: int | None = None
        """The most objects that a page of a list has, however many are asked for; None for as many."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._trust),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        await self.come_back()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._flowing.set()
        await self.leave()
        await self._session.close()

    async def leave(self) -> None:
        """Close every connection and refuse new ones."""
        await self._runner.cleanup()

    async def come_back(self) -> None:
        """Listen, on the same port as before."""
        app = web.Application(client_max_size=64 * 1024**2)
        app.add_routes([web.route("*", "/{path:.*}", self._handle)])
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._identity).start()
        self._port = self._runner.addresses[0][1]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'http' if self._identity is None else 'https'}://127.0.0.1:{self._port}"

    def inject(self, fault: Fault) -> Fault:
        """Let the next requests that match meet a fault."""
        self._faults.append(fault)
        return fault

    def withdraw(self, fault: Fault) -> None:
        """Let no further request meet a fault."""
        self._faults.remove(fault)

    def stall(self) -> None:
        """Not a byte passes any more, of what is open and of what will be."""
        self._flowing.clear()

    def resume(self) -> None:
        """Bytes pass again; what a stalled answer held back is sent."""
        self._flowing.set()

    def silence_what_is_open(self) -> None:
        """Not a byte passes any more on what is open now, for ever: its other end is gone."""
        self._deaf |= self._open

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        await self._flowing.wait()
        fault = next(
            (fault for fault in self._faults if fault.met < fault.times and fault.matches(request)), None
        )
        if fault is None:
            return await self._forward(request)
        fault.met += 1
        if fault.hold is not None:
            await fault.hold.wait()
            return await self._forward(request)
        if fault.carried_out:
            body = await request.read()
            async with self._ask(request, body) as answer:
                self._remember(request, body, answer.status)
                await answer.read()
        if fault.status is None:
            assert request.transport is not None
            request.transport.abort()
            raise web.HTTPBadGateway
        return web.Response(status=fault.status, headers=dict(fault.headers), text=fault.text)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        try:
            async with self._ask(request, body) as answer:
                self._remember(request, body, answer.status)
                headers = {
                    key: value for key, value in answer.headers.items() if key.lower() not in HOP_BY_HOP
                }
                response = web.StreamResponse(status=answer.status, headers=headers)
                await response.prepare(request)
                self._open.add(response)
                try:
                    async for piece in answer.content.iter_any():
                        await self._flowing.wait()
                        if response in self._deaf:
                            await asyncio.Event().wait()
                        await response.write(piece)
                finally:
                    self._open.discard(response)
                await response.write_eof()
                return response
        except aiohttp.ClientError:
            # The server is away or went away: so are we, for this connection.
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPBadGateway from None

    def _remember(self, request: web.Request, body: bytes, status: int) -> None:
        self.seen.append(Seen(request.method, request.path_qs, request.content_type, body, status))

    def _ask(self, request: web.Request, body: bytes) -> "aiohttp.client._RequestContextManager":
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP_BY_HOP}
        url = request.rel_url
        if self.page_size is not None and "limit" in url.query:
            url = url.update_query(limit=min(int(url.query["limit"]), self.page_size))
        return self._session.request(
            request.method, f"{self._upstream}{url}", headers=headers, data=body or None
        )


def on(method: str, part: str, *, watch: bool | None = None) -> Matches:
    """Requests of a method with a part of a path, of watches alone or of all but watches where asked."""

    def matches(request: web.Request) -> bool:
        is_watch = request.query.get("watch") == "true"
        return request.method == method and part in request.path and watch in (None, is_watch)

    return matches
