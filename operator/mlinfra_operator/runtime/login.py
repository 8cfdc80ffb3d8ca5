"""kopf's connection: configuration and trust of the operator's own client, and an ear on its watches.

kopf takes ten times as long over an event as the operator itself does to see that it brings no news.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import kopf
import orjson
from aiohttp.client_middlewares import ClientHandlerType
from yarl import URL

from mlinfra.kube import ClusterConfig
from mlinfra.kube.pulse import Pulse
from mlinfra_operator.runtime.cache import ObjectCache

GONE = 410
RETRIED_BY_KOPF = frozenset({403, 429, *range(500, 600)})
UNAUTHORIZED = 401
RETRY_SECONDS = 2.0
WATCH_ERROR = b'{"type":"ERROR"'
"""How the line of an error in the middle of a watch begins."""
WATCH_CHANGE = (b'{"type":"ADDED"', b'{"type":"MODIFIED"')
LIST_AGAIN = b'{"type":"ERROR","object":{"kind":"Status","code":410}}\n'
"""The one error that does not end kopf: it lists again, as one does after any error of a watch."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A resource that kopf watches.

    Attributes:
        pulse: of the watch.
        cache: what is known of its objects.
    """

    pulse: Pulse
    cache: ObjectCache


class NewsResponse(aiohttp.ClientResponse):
    """An answer to kopf: of a list, the objects of which it brings news.

    Attributes:
        watched: the resource that is listed or watched.
    """

    watched: Watched | None = None

    async def json(self, **_: Any) -> Any:
        """The body."""
        answer = orjson.loads(await self.read())
        if self.watched is not None and isinstance(answer, dict) and "items" in answer:
            items = answer["items"] or ()
            answer["items"] = [item for item in items if not self.watched.cache.knows(item)]
        return answer


class HeardStream:
    """The content of a watch's answer: a pulse hears each piece.

    kopf hears of no error but one, and of no object that is known as it is: such are all that the
    operator itself has written.
    """

    def __init__(self, content: aiohttp.StreamReader, watched: Watched) -> None:
        self._content = content
        self._watched = watched

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Whole lines as they come, and what is left at the end.

        Args:
            size: the most bytes that are read at a time.
        """
        rest: list[bytes] = []
        async for piece in self._content.iter_chunked(size):
            if b"\n" not in piece:
                self._watched.pulse.heard()
                rest.append(piece)
                continue
            *lines, last = b"".join((*rest, piece)).split(b"\n")
            rest = [last]
            news = b""
            for line in lines:
                if line.startswith(WATCH_ERROR):
                    self._watched.pulse.told(line.decode(errors="replace"))
                    yield news + LIST_AGAIN
                    return
                if not self._is_known(line):
                    news += line + b"\n"
            self._watched.pulse.heard()
            if news:
                yield news
        yield b"".join(rest)

    def _is_known(self, line: bytes) -> bool:
        if not line.startswith(WATCH_CHANGE):
            return False
        return self._watched.cache.knows(orjson.loads(line)["object"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)


class GoneStream(HeardStream):
    """The content of a watch that the server refuses to begin where the last one ended."""

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """The one error that makes kopf list again."""
        yield LIST_AGAIN


def connection(
    config: ClusterConfig, resources: Mapping[str, Watched], began_anew: Callable[[], None]
) -> kopf.AiohttpSession:
    """A session for kopf.

    The token is read anew for each request, as a kubelet replaces it before it expires. Where it is
    refused, or a resource is not served, the request is made again and again: kopf would log in
    without a pause, or end.

    Args:
        config: the cluster, and who we are.
        resources: what kopf watches, by plural.
        began_anew: called where kopf asks for all objects of a resource that it has watched before.
    """

    async def authorize(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        watched = resources.get(request.url.path.rpartition("/")[2])
        pulses = [each.pulse for each in ([watched] if watched is not None else resources.values())]
        while True:
            token = config.token()
            if token is not None:
                request.headers["Authorization"] = f"Bearer {token}"
            try:
                response = await handler(request)
            except aiohttp.ClientConnectionError as error:
                # A timeout is no answer but silence.
                if not isinstance(error, TimeoutError):
                    _tell(pulses, str(error))
                raise
            if response.ok:
                if watched is not None:
                    if _begins_anew(request.url) and watched.pulse.heard_at is not None:
                        began_anew()
                    _listen(response, watched)
                return response
            _tell(pulses, f"HTTP {response.status} {response.reason}")
            if response.status == GONE and watched is not None:
                return _gone(response, watched)
            if not _is_asked_again(response.status, watched):
                return response
            response.release()
            await asyncio.sleep(RETRY_SECONDS)

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=config.ssl_context),
        middlewares=(authorize,),
        response_class=NewsResponse,
        trust_env=False,
    )
    return kopf.AiohttpSession(
        server=config.server, aiohttp_session=session, default_namespace=config.namespace
    )


def _tell(pulses: list[Pulse], trouble: str) -> None:
    for pulse in pulses:
        pulse.told(trouble)


def _is_asked_again(status: int, watched: Watched | None) -> bool:
    return status == UNAUTHORIZED or (watched is not None and status not in RETRIED_BY_KOPF)


def _gone(response: aiohttp.ClientResponse, watched: Watched) -> aiohttp.ClientResponse:
    if not _is_watch(response.url):
        response.release()
        # The list took so long that its next page is lost: kopf begins it anew.
        raise aiohttp.ClientPayloadError("the list has to begin anew")
    response.status = 200
    response.content = cast("aiohttp.StreamReader", GoneStream(response.content, watched))
    return response


def _is_watch(url: URL) -> bool:
    return url.query.get("watch") == "true"


def _begins_anew(url: URL) -> bool:
    """Whether all objects are asked for, by a list or as kopf can be set to do it, by the watch itself."""
    return not {"continue", "resourceVersion"} & url.query.keys()


def _listen(response: aiohttp.ClientResponse, watched: Watched) -> None:
    watched.pulse.heard()
    cast("NewsResponse", response).watched = watched
    if _is_watch(response.url):
        response.content = cast("aiohttp.StreamReader", HeardStream(response.content, watched))
