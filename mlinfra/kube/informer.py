"""A cache of one resource type that keeps itself current: list, watch, and list again."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

import httpx

from mlinfra.kube.client import GONE, LONGEST_RETRY_AFTER_SECONDS, ApiError, KubernetesClient, Object
from mlinfra.kube.pulse import Pulse
from mlinfra.kube.resource import ResourceType

logger = logging.getLogger(__name__)

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
Key = tuple[str, str]
"""Namespace (empty for cluster-wide types) and name."""

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 15.0
SHORTEST_WATCH_SECONDS = 1.0


def key_of(obj: Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Informer:
    """Calls ``on_change(type, object)`` for each change, including deletions missed while away.

    `objects` is complete once `synced` is set. Failures of the connection are logged and retried with
    a growing delay; only cancellation ends `run`. `pulse` tells when the server was last heard.

    With ``keep``, what it makes of an object takes the object's place everywhere; it has the object's
    name, namespace, UID and resourceVersion at least.
    """

    def __init__(
        self,
        client: KubernetesClient,
        resource: ResourceType,
        *,
        on_change: Callable[[ChangeType, Object], None],
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        pulse: Pulse | None = None,
        keep: Callable[[Object], Object] | None = None,
    ) -> None:
        self.objects: dict[Key, Object] = {}
        self.synced = asyncio.Event()
        self.pulse = pulse or Pulse()
        self._client = client
        self._resource = resource
        self._on_change = on_change
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._keep = keep

    async def run(self) -> None:
        self.pulse.begins()
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._watch(await self._list())
            except (ApiError, httpx.HTTPError) as error:
                silent = isinstance(error, httpx.TimeoutException) and self.synced.is_set()
                if silent or time.monotonic() - began > LONGEST_RETRY_SECONDS:
                    failures = 0
                await asyncio.sleep(self._tell(error, failures))
                failures += 1

    def _tell(self, error: ApiError | httpx.HTTPError, failures: int) -> float:
        """Log an error; seconds after which to list again."""
        told = str(error) or type(error).__name__
        if not isinstance(error, httpx.TimeoutException):
            self.pulse.told(told)
        delay = min(FIRST_RETRY_SECONDS * 2.0 ** min(failures, 10), LONGEST_RETRY_SECONDS)
        if isinstance(error, ApiError):
            if error.status == GONE and failures == 0:
                delay = 0.0
            delay = max(delay, min(error.retry_after or 0.0, LONGEST_RETRY_AFTER_SECONDS))
        logger.warning("watch of %s: %s; listed again in %.1f s", self._resource.plural, told, delay)
        return delay

    def remember(self, obj: Object) -> None:
        """An object as the answer to one's own write tells of it, before the watch does."""
        old = self.objects.get(key_of(obj))
        if old is None or int(obj["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"]):
            self._remember(obj)

    async def _list(self) -> str:
        items, version = await self._client.list(
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            keep=self._keep,
        )
        found = {key_of(item): item for item in items}
        for key in [key for key in self.objects if key not in found]:
            self._forget(key)
        for item in items:
            self._remember(item)
        self.synced.set()
        self.pulse.heard()
        return version

    async def _watch(self, version: str) -> None:
        while True:
            began = time.monotonic()
            async for event in self._client.watch(
                self._resource,
                self._namespace,
                resource_version=version,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                pulse=self.pulse,
            ):
                version = event.object["metadata"]["resourceVersion"]
                if event.type == "BOOKMARK":
                    continue
                obj = self._keep(event.object) if self._keep is not None else event.object
                if event.type == "DELETED":
                    self.objects[key_of(obj)] = obj
                    self._forget(key_of(obj))
                else:
                    self._remember(obj)
            if time.monotonic() - began < SHORTEST_WATCH_SECONDS:
                # The server ended it at once: it is not asked as fast as it answers.
                await asyncio.sleep(SHORTEST_WATCH_SECONDS)

    def _remember(self, obj: Object) -> None:
        key = key_of(obj)
        old = self.objects.get(key)
        if old is not None and old["metadata"]["uid"] != obj["metadata"]["uid"]:
            self._forget(key)
            old = None
        if old is not None and old["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]:
            return
        self.objects[key] = obj
        self._on_change("MODIFIED" if old is not None else "ADDED", obj)

    def _forget(self, key: Key) -> None:
        obj = self.objects.pop(key, None)
        if obj is not None:
            self._on_change("DELETED", obj)


@asynccontextmanager
async def running(*informers: Informer) -> AsyncIterator[None]:
    """Keep informers current while the block runs; all are complete when it begins."""
    failure = None
    async with asyncio.TaskGroup() as group:
        watches = [group.create_task(informer.run()) for informer in informers]
        try:
            for informer in informers:
                await informer.synced.wait()
            yield
        except Exception as error:
            # The block's own: the task group would wrap it.
            failure = error
        finally:
            for watch in watches:
                watch.cancel()
    if failure is not None:
        raise failure
