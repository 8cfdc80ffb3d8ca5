"""aiohttp's connections under httpx's client: a request costs a fifth of the CPU time of httpx's own.

An operator sends thousands of requests; what callers see, requests, answers and exceptions, stays httpx's.
"""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    import aiohttp

KEEP_ALIVE_SECONDS = 60.0


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Connections to one server.

    Args:
        trust: whom to trust, and who we are.
        max_connections: at a time; further requests wait.
    """

    def __init__(self, trust: ssl.SSLContext, *, max_connections: int) -> None:
        self._trust = trust
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its body is bytes, as those of all our requests."""
        import aiohttp
        from yarl import URL

        limits = request.extensions["timeout"]
        timeout = aiohttp.ClientTimeout(sock_connect=limits["connect"], sock_read=limits["read"])
        with translated(request):
            response = await self._connected().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=request.content or None,
                timeout=timeout,
                allow_redirects=False,
            )
        return httpx.Response(
            response.status, headers=response.raw_headers, stream=_Body(response, request), request=request
        )

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
                # httpx reads Content-Encoding itself.
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: "aiohttp.ClientResponse", request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with translated(self._request):
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        # What is not read to its end cannot be used again.
        self._response.release()


@contextmanager
def translated(request: httpx.Request) -> Iterator[None]:
    """aiohttp's exceptions as httpx's."""
    import aiohttp

    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(_told(error), request=request) from error
    except TimeoutError as error:
        raise httpx.ReadTimeout(_told(error), request=request) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(_told(error), request=request) from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError) as error:
        raise httpx.RemoteProtocolError(_told(error), request=request) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError(_told(error), request=request) from error


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
