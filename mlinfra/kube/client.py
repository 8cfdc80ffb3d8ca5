"""Requests to the API server: typed errors, watches, and server-side apply."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import orjson

from mlinfra.kube.config import ClusterConfig
from mlinfra.kube.pulse import Pulse
from mlinfra.kube.resource import PODS, ResourceType, type_of
from mlinfra.kube.transport import Connections, Request

Object = dict[str, Any]
"""A Kubernetes object as JSON."""

REQUEST_TIMEOUT_SECONDS = 30.0
WATCH_TIMEOUT_SECONDS = 300
"""After so long the server ends a watch and we ask again, so that a dead connection is noticed."""
WATCH_SILENCE_SECONDS = 90.0
"""Bookmarks come about once a minute: a longer silence means that the connection is dead."""
FIRST_ERROR, TOO_MANY_REQUESTS = 400, 429
GONE = 410
DEFAULT_RETRY_AFTER_SECONDS = 1.0
LONGEST_RETRY_AFTER_SECONDS = 30.0
THROTTLED_SECONDS = 60.0
"""So long a request waits for a server that is too busy for it, all in all."""


class ApiError(Exception):
    """An answer of the API server other than success.

    Attributes:
        status: HTTP status code.
        reason: reason of the returned ``Status``, such as ``NotFound`` or ``AlreadyExists``.
        retry_after: seconds after which the server wants to be asked again, where it says so.
    """

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after

    @classmethod
    def of(cls, status: int, body: bytes, *, retry_after: float | None = None) -> "ApiError":
        try:
            answer = orjson.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            message = f"HTTP {status}: {body[:500].decode(errors='replace')}"
            return cls(status, "", message, retry_after=retry_after)
        return cls(
            int(answer.get("code") or status),
            str(answer.get("reason") or ""),
            str(answer.get("message") or f"HTTP {status}"),
            retry_after=retry_after,
        )


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch; the object of a BOOKMARK has only a resourceVersion."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


class KubernetesClient:
    """Asynchronous client of one cluster; use it as a context manager or call `aclose`.

    Every method raises `ApiError` for an answer that is not a success, and ``httpx.TransportError``
    where the server cannot be reached. A request that the server is too busy for (429) is asked again
    when the server says.

    Args:
        config: the cluster, and who we are.
        user_agent: what the server's logs call us.
        max_connections: at a time.
        watch_silence: seconds without a word after which a watch's connection counts as dead.
    """

    def __init__(
        self,
        config: ClusterConfig,
        *,
        user_agent: str = "mlinfra",
        max_connections: int = 64,
        watch_silence: float = WATCH_SILENCE_SECONDS,
    ) -> None:
        self.config = config
        self._watch_silence = watch_silence
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        self._connections = Connections(
            config.server,
            config.ssl_context,
            max_connections=max_connections,
            connect_seconds=REQUEST_TIMEOUT_SECONDS,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._connections.aclose()

    async def get(
        self, resource: ResourceType, name: str, namespace: str | None = None, subresource: str | None = None
    ) -> Object:
        return await self._json("GET", resource.path(namespace, name, subresource))

    async def find(self, resource: ResourceType, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None where there is none."""
        try:
            return await self.get(resource, name, namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def offers(self, resource: ResourceType) -> bool:
        """Whether the API server serves this version of a type."""
        try:
            found = await self._json("GET", f"/apis/{resource.api_version}")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return any(served["name"] == resource.plural for served in found["resources"])

    async def list(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        page_size: int = 500,
        keep: Callable[[Object], Object] | None = None,
    ) -> tuple[list[Object], str]:
        """All objects, read in pages, and the resourceVersion to watch from.

        Where the server has forgotten what the pages are of before the last one is read, all are read anew
        and at once: many pages might take too long again.

        Args:
            keep: what is kept of each object, before the next page is read.
        """
        items: list[Object] = []
        selectors = _selectors(label_selector, field_selector)
        params = selectors | {"limit": str(page_size)}
        while True:
            try:
                page = await self._json("GET", resource.path(namespace), params=params)
            except ApiError as error:
                if error.status != GONE or "continue" not in params:
                    raise
                items, params = [], selectors
                continue
            found = page.get("items") or []
            items += map(keep, found) if keep is not None else found
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return items, metadata.get("resourceVersion", "")
            params = params | {"continue": metadata["continue"]}

    async def watch(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str | None = None,
        field_selector: str | None = None,
        pulse: Pulse | None = None,
    ) -> AsyncIterator[WatchEvent]:
        """Events after ``resource_version`` until the server ends the watch.

        Args:
            pulse: told of each word of the server.

        Raises:
            ApiError: status 410 when the version is too old, so that the caller lists again.
            httpx.ReadTimeout: nothing was heard for too long, not even a bookmark.
        """
        params = _selectors(label_selector, field_selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_TIMEOUT_SECONDS),
        }
        request = Request(
            "GET", resource.path(namespace), params, self._sent_headers(), silence=self._watch_silence
        )
        async with self._connections.stream(request) as stream:
            if stream.status >= FIRST_ERROR:
                raise ApiError.of(stream.status, await stream.read(), retry_after=retry_after(stream.headers))
            if pulse is not None:
                pulse.heard()
            async for line in stream.lines():
                if not line:
                    continue
                if pulse is not None:
                    pulse.heard()
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(
                        int(status.get("code") or 500), status.get("reason", ""), status.get("message", "")
                    )
                yield WatchEvent(event["type"], event["object"])

    async def log(
        self,
        pod: str,
        namespace: str,
        *,
        container: str | None = None,
        follow: bool = False,
        tail_lines: int | None = None,
    ) -> AsyncIterator[str]:
        """The lines of a container's log, without their ends.

        Args:
            pod: its name.
            namespace: of the pod.
            container: its name; may be left out where the pod has one.
            follow: go on until the container ends.
            tail_lines: begin with so many of the newest lines.
        """
        params = {"container": container} if container else {}
        if follow:
            params["follow"] = "true"
        if tail_lines is not None:
            params["tailLines"] = str(tail_lines)
        # A program may be silent for as long as it likes.
        silence = None if follow else REQUEST_TIMEOUT_SECONDS
        headers = self._sent_headers() | {"Accept": "*/*"}
        request = Request("GET", PODS.path(namespace, pod, "log"), params, headers, silence=silence)
        async with self._connections.stream(request) as stream:
            if stream.status >= FIRST_ERROR:
                raise ApiError.of(stream.status, await stream.read())
            async for line in stream.lines():
                for part in line.decode(errors="replace").splitlines() or ("",):
                    yield part

    async def create(
        self,
        resource: ResourceType,
        body: Object,
        namespace: str | None = None,
        *,
        name: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
    ) -> Object:
        """Create an object, or with ``name`` and ``subresource`` post to a subresource."""
        params = {"fieldManager": field_manager} if field_manager else {}
        return await self._json("POST", resource.path(namespace, name, subresource), body=body, params=params)

    async def merge_patch(
        self,
        resource: ResourceType,
        name: str,
        patch: Object,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        field_manager: str | None = None,
    ) -> Object:
        """JSON merge patch (RFC 7386): a null removes a field, a list replaces the list."""
        params = {"fieldManager": field_manager} if field_manager else {}
        return await self._json(
            "PATCH",
            resource.path(namespace, name, subresource),
            body=patch,
            params=params,
            content_type="application/merge-patch+json",
        )

    async def apply(self, manifest: Object, *, field_manager: str, force: bool = True) -> Object:
        """Server-side apply of a manifest, in its namespace or the configuration's.

        Raises:
            ValueError: the manifest's type is unknown to this project.
        """
        resource = type_of(manifest)
        metadata = manifest["metadata"]
        return await self._json(
            "PATCH",
            resource.path(metadata.get("namespace") or self.config.namespace, metadata["name"]),
            body=manifest,
            params={"fieldManager": field_manager, "force": str(force).lower()},
            content_type="application/apply-patch+yaml",
        )

    async def delete(
        self,
        resource: ResourceType,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        grace_period_seconds: int | None = None,
    ) -> None:
        """Delete an object; one already gone is fine.

        Args:
            uid, resource_version: only that very one, and as it was then; else the answer is 409.
        """
        options: Object = {"propagationPolicy": propagation}
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        if known := {name: value for name, value in preconditions.items() if value is not None}:
            options["preconditions"] = known
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        try:
            await self._json("DELETE", resource.path(namespace, name), body=options)
        except ApiError as error:
            if error.status != 404:
                raise

    async def raw(self, path: str) -> bytes:
        """The body of a GET outside the resource scheme, such as ``/readyz``."""
        return await self._bytes("GET", path)

    async def _json(self, method: str, path: str, **request: Any) -> Object:
        answer: Object = orjson.loads(await self._bytes(method, path, **request))
        return answer

    async def _bytes(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        params: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        content = _encoded(body) if body is not None else None
        waited = 0.0
        while True:
            headers = self._sent_headers()
            if content is not None:
                headers["Content-Type"] = content_type
            answer = await self._connections.ask(
                Request(method, path, params or {}, headers, content, REQUEST_TIMEOUT_SECONDS)
            )
            if answer.status < FIRST_ERROR:
                return answer.content
            wanted = retry_after(answer.headers)
            delay = min(wanted or DEFAULT_RETRY_AFTER_SECONDS, LONGEST_RETRY_AFTER_SECONDS)
            waited += delay
            if answer.status != TOO_MANY_REQUESTS or waited > THROTTLED_SECONDS:
                raise ApiError.of(answer.status, answer.content, retry_after=wanted)
            # The server has not carried it out: it may be asked again, whatever it asks for.
            await asyncio.sleep(delay)

    def _sent_headers(self) -> dict[str, str]:
        token = self.config.token()
        return self._headers | {"Authorization": f"Bearer {token}"} if token else dict(self._headers)


def _encoded(body: Object) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        # Half a surrogate pair in what somebody else said: escaped, the API server takes it.
        return json.dumps(body, allow_nan=False).encode()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds after which a server wants to be asked again; None where it does not say."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def _selectors(label_selector: str | None, field_selector: str | None) -> dict[str, str]:
    selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in selectors.items() if value}
