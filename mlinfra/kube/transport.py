"""The client's connections, by aiohttp alone: what httpx adds to a request takes longer than all else of it.

Exceptions are httpx's: callers need not know who holds the connections.
"""

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import httpx

if TYPE_CHECKING:
    import aiohttp

KEEP_ALIVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    Attributes:
        path: with its special characters encoded.
        content: the body, where there is one.
        silence: seconds after which a server that says nothing counts as gone; never where absent.
    """

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    content: bytes | None = None
    silence: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; the names of headers are those of any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Stream:
    """An answer that is read while it is written."""

    def __init__(self, response: "aiohttp.ClientResponse") -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response

    async def read(self) -> bytes:
        """All of it."""
        with translated():
            return await self._response.read()

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines without their ends, however long, as they come."""
        rest: list[bytes] = []
        with translated():
            async for piece in self._response.content.iter_any():
                *whole, last = piece.split(b"\n")
                for line in whole:
                    yield b"".join((*rest, line)) if rest else line
                    rest.clear()
                if last:
                    rest.append(last)
        if rest:
            yield b"".join(rest)


class Connections:
    """Connections to one server.

    Args:
        server: its address, without a slash at the end.
        trust: whom to trust, and who we are.
        max_connections: at a time; further requests wait.
        connect_seconds: that a connection may take to be made.
    """

    def __init__(
        self, server: str, trust: ssl.SSLContext, *, max_connections: int, connect_seconds: float
    ) -> None:
        self._server = server
        self._trust = trust
        self._max_connections = max_connections
        self._connect_seconds = connect_seconds
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, request: Request) -> Answer:
        """The whole answer.

        Raises:
            httpx.TransportError: there is none.
        """
        async with self.stream(request) as stream:
            return Answer(stream.status, stream.headers, await stream.read())

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        """The answer as it comes; what is not read to its end costs the connection.

        Raises:
            httpx.TransportError: there is none.
        """
        import aiohttp
        from yarl import URL

        query = f"?{urlencode(request.params)}" if request.params else ""
        with translated():
            response = await self._connected().request(
                request.method,
                URL(f"{self._server}{request.path}{query}", encoded=True),
                headers=request.headers,
                data=request.content,
                timeout=aiohttp.ClientTimeout(sock_connect=self._connect_seconds, sock_read=request.silence),
                allow_redirects=False,
            )
        try:
            yield Stream(response)
        finally:
            response.release()

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _connected(self) -> "aiohttp.ClientSession":
        # Importing it takes a while, and a session belongs to the event loop that runs.
        import aiohttp

        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._trust, limit=self._max_connections, keepalive_timeout=KEEP_ALIVE_SECONDS
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                trust_env=False,
            )
        return self._session


@contextmanager
def translated() -> Iterator[None]:
    """aiohttp's exceptions as httpx's."""
    import aiohttp

    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(_told(error)) from error
    except TimeoutError as error:
        raise httpx.ReadTimeout(_told(error)) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(_told(error)) from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError) as error:
        raise httpx.RemoteProtocolError(_told(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError(_told(error)) from error


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
