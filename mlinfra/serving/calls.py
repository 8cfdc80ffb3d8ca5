"""One HTTP call: its body read within limits, its error as JSON, its outcome counted."""

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import orjson
from prometheus_client import Histogram
from starlette.types import Message, Receive, Scope, Send

from mlinfra.serving.errors import (
    BodiesFullError,
    BodyTooLargeError,
    HeadTooLargeError,
    InvalidRequestError,
    RequestError,
    SlowRequestError,
    UnauthorizedError,
    UnsupportedEncodingError,
)
from mlinfra.serving.metrics import ServingMetrics

logger = logging.getLogger(__name__)

JSON = b"application/json"
BINARY = b"application/octet-stream"
Headers = Mapping[bytes, bytes]
FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip")
"""Headers by which a proxy says that it speaks for another machine."""
CLIENT_LEFT = "499"
"""The code, in metrics alone, of a call whose client did not wait."""


class ClientLeft(Exception):
    """The connection ended before the body was whole: nobody waits for an answer."""


@dataclass(slots=True)
class Answer:
    """What a call is answered with."""

    body: bytes = b""
    status: int = 200
    content_type: bytes = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def json_answer(value: object, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS), status)


class Arriving:
    """The bytes of all bodies that are not whole yet, at most so many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0

    def add(self, size: int) -> None:
        """More of a body is there; raises `BodiesFullError`."""
        if self._bytes + size > self._limit:
            raise BodiesFullError(
                f"bodies of {self._limit} bytes arrive already; try again later, send less, or add replicas"
            )
        self._bytes += size

    def remove(self, size: int) -> None:
        """A body is whole, or is given up."""
        self._bytes -= size


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take.

    Attributes:
        max_body_bytes: of the body.
        arriving: what bodies take together until they are whole.
        body_seconds: for the body to arrive.
        token: that calls must carry; None where they need none.
    """

    max_body_bytes: int
    arriving: Arriving
    body_seconds: float
    token: str | None


class Call:
    """A call's head and body."""

    def __init__(self, scope: Scope, receive: Receive, limits: Limits) -> None:
        self.headers: Headers = dict(scope["headers"])
        self.path: Mapping[str, str] = scope["path_params"]
        self._scope = scope
        self._receive = receive
        self._limits = limits

    @property
    def from_this_machine(self) -> bool:
        """Whether the client is on the loopback interface, and speaks for nobody else."""
        if any(header in self.headers for header in FORWARDED):
            return False
        client = self._scope.get("client")
        return client is not None and (client[0] == "::1" or client[0].startswith("127."))

    def has_token(self) -> bool:
        """Whether the call carries the token; false where none is set."""
        return is_token(self.headers.get(b"authorization", b""), self._limits.token)

    def number(self, header: bytes) -> int | None:
        """The whole number in a header; None without it.

        Raises:
            InvalidRequestError: it is none.
        """
        text = self.headers.get(header)
        if text is None:
            return None
        if not text.isdigit() or len(text) > 18:
            raise InvalidRequestError(f"header {header.decode('latin-1')} is no number")
        return int(text)

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            RequestError: it is too large, too slow or compressed.
            ClientLeft: the connection ended in the middle.
        """
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedEncodingError("the body is compressed; send it as it is")
        length = self.number(b"content-length")
        if length is not None and length > self._limits.max_body_bytes:
            raise self._too_large(length)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return await self._read()
        except TimeoutError as error:
            raise SlowRequestError(f"the body took more than {self._limits.body_seconds:g} s") from error

    async def _read(self) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        try:
            while more:
                message = await self._received(self._receive)
                part = message.get("body", b"")
                if size + len(part) > self._limits.max_body_bytes:
                    raise self._too_large(size + len(part))
                self._limits.arriving.add(len(part))
                size += len(part)
                parts.append(part)
                more = message.get("more_body", False)
        finally:
            self._limits.arriving.remove(size)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @staticmethod
    async def _received(receive: Receive) -> Message:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        return message

    def _too_large(self, size: int) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"the body has {size} bytes or more, and {self._limits.max_body_bytes} are read; send fewer rows"
        )


def is_token(authorization: bytes, token: str | None) -> bool:
    """Whether a header holds the token; false where none is set."""
    return token is not None and hmac.compare_digest(authorization, b"Bearer " + token.encode())


Handler = Callable[[Call], Awaitable[Answer]]


class Endpoint:
    """An ASGI application that answers one route.

    Args:
        route: its name in the metrics.
        handle: gives the answer, or raises a `RequestError`.
        limits: what one call may take.
        metrics: counts it.
        closing: whether connections are to end with their answer.
        guarded: whether the token is needed.
    """

    def __init__(
        self,
        route: str,
        handle: Handler,
        *,
        limits: Limits,
        metrics: ServingMetrics,
        closing: Callable[[], bool],
        guarded: bool = True,
    ) -> None:
        self._handle = handle
        self._route = route
        self._limits = limits
        self._guarded = guarded and limits.token is not None
        self._closing = closing
        self._metrics = metrics
        self._seconds: Histogram = metrics.request_seconds.labels(route)
        self._ok = metrics.requests.labels(route, "200")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        call = Call(scope, receive, self._limits)
        try:
            if self._guarded and not call.has_token():
                raise UnauthorizedError("the call needs the header Authorization: Bearer <token>")
            answer = await self._handle(call)
        except ClientLeft:
            self._metrics.requests.labels(self._route, CLIENT_LEFT).inc()
            return
        except RequestError as error:
            answer = error_answer(error)
        except RecursionError:
            # JSON may be nested a little deeper than Python's own calls, also those that tell what is wrong.
            answer = error_answer(InvalidRequestError("the body is nested too deeply"))
        except Exception:
            logger.exception("%s failed", self._route)
            answer = json_answer(
                {"error": "the server failed; its log tells more", "reason": "Internal"}, 500
            )
        if answer.status == 200:
            self._ok.inc()
        else:
            self._metrics.requests.labels(self._route, str(answer.status)).inc()
        self._seconds.observe(time.perf_counter() - started)
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", str(len(answer.body)).encode()),
            *answer.headers,
        ]
        if self._closing():
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def error_answer(error: RequestError) -> Answer:
    """An error as the protocol wants it, with its reason for machines."""
    answer = json_answer({"error": str(error), "reason": error.reason}, error.status)
    if error.retry_after is not None:
        answer.headers.append((b"retry-after", str(error.retry_after).encode()))
    if isinstance(error, UnauthorizedError):
        answer.headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, (BodyTooLargeError, BodiesFullError, HeadTooLargeError, SlowRequestError)):
        # The rest of the request is not waited for.
        answer.headers.append((b"connection", b"close"))
    return answer
