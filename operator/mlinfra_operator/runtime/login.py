"""kopf's connection: configuration and trust of the operator's own client, and an ear on its watches."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import aiohttp
import kopf
from aiohttp.client_middlewares import ClientHandlerType
from yarl import URL

from mlinfra.kube import ClusterConfig
from mlinfra.kube.pulse import Pulse

GONE = 410
RETRIED_BY_KOPF = frozenset({403, 429, *range(500, 600)})
UNAUTHORIZED = 401
RETRY_SECONDS = 2.0
WATCH_ERROR = b'{"type":"ERROR"'
"""How an error in the middle of a watch begins; inside an object the quotes would be escaped."""
LIST_AGAIN = b'{"type":"ERROR","object":{"kind":"Status","code":410}}\n'
"""The one error that does not end kopf: it lists again, as one does after any error of a watch."""


class HeardStream:
    """The content of a watch's answer: a pulse hears each piece, and kopf of no error but one."""

    def __init__(self, content: aiohttp.StreamReader, pulse: Pulse) -> None:
        self._content = content
        self._pulse = pulse

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """The pieces as they come, of at most so many bytes."""
        async for piece in self._content.iter_chunked(size):
            before, error, told = piece.partition(WATCH_ERROR)
            if error:
                self._pulse.told((error + told).decode(errors="replace").strip())
                yield before + LIST_AGAIN
                return
            self._pulse.heard()
            yield piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)


class GoneStream(HeardStream):
    """The content of a watch that the server refuses to begin where the last one ended."""

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """The one error that makes kopf list again."""
        yield LIST_AGAIN


def connection(
    config: ClusterConfig, pulses: Mapping[str, Pulse], began_anew: Callable[[], None]
) -> kopf.AiohttpSession:
    """A session for kopf.

    The token is read anew for each request, as a kubelet replaces it before it expires. Where it is
    refused, or a resource is not served, the request is made again and again: kopf would log in
    without a pause, or end.

    Args:
        config: the cluster, and who we are.
        pulses: of kopf's watches, by the plural of the resource.
        began_anew: called where kopf lists a resource that it has watched before.
    """

    async def authorize(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        pulse = pulses.get(request.url.path.rpartition("/")[2])
        concerned = [pulse] if pulse is not None else list(pulses.values())
        while True:
            token = config.token()
            if token is not None:
                request.headers["Authorization"] = f"Bearer {token}"
            try:
                response = await handler(request)
            except aiohttp.ClientConnectionError as error:
                # A timeout is no answer but silence.
                if not isinstance(error, TimeoutError):
                    _tell(concerned, str(error))
                raise
            if response.ok:
                if pulse is not None:
                    if _is_first_page(request.url) and pulse.heard_at is not None:
                        began_anew()
                    _listen(response, pulse)
                return response
            _tell(concerned, f"HTTP {response.status} {response.reason}")
            if response.status == GONE and pulse is not None:
                return _gone(response, pulse)
            if not _is_asked_again(response.status, pulse):
                return response
            response.release()
            await asyncio.sleep(RETRY_SECONDS)

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=config.ssl_context),
        middlewares=(authorize,),
        trust_env=False,
    )
    return kopf.AiohttpSession(
        server=config.server, aiohttp_session=session, default_namespace=config.namespace
    )


def _tell(pulses: list[Pulse], trouble: str) -> None:
    for pulse in pulses:
        pulse.told(trouble)


def _is_asked_again(status: int, pulse: Pulse | None) -> bool:
    return status == UNAUTHORIZED or (pulse is not None and status not in RETRIED_BY_KOPF)


def _gone(response: aiohttp.ClientResponse, pulse: Pulse) -> aiohttp.ClientResponse:
    if not _is_watch(response.url):
        response.release()
        # The list took so long that its next page is lost: kopf begins it anew.
        raise aiohttp.ClientPayloadError("the list has to begin anew")
    response.status = 200
    response.content = cast("aiohttp.StreamReader", GoneStream(response.content, pulse))
    return response


def _is_watch(url: URL) -> bool:
    return url.query.get("watch") == "true"


def _is_first_page(url: URL) -> bool:
    return not _is_watch(url) and "continue" not in url.query


def _listen(response: aiohttp.ClientResponse, pulse: Pulse) -> None:
    pulse.heard()
    if _is_watch(response.url):
        response.content = cast("aiohttp.StreamReader", HeardStream(response.content, pulse))
