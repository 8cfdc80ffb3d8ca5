"""A cache of one resource type that keeps itself current: list, watch, and list again."""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

import httpx

from mlinfra.kube.client import ApiError, KubernetesClient, Object
from mlinfra.kube.resource import ResourceType

logger = logging.getLogger(__name__)

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
Key = tuple[str, str]
"""Namespace (empty for cluster-wide types) and name."""

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 15.0


def key_of(obj: Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Informer:
    """Calls ``on_change(type, object)`` for each change, including deletions missed while away.

    `objects` is complete once `synced` is set. Failures of the connection are logged and retried with
    a growing delay; only cancellation ends `run`.
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
    ) -> None:
        self.objects: dict[Key, Object] = {}
        self.synced = asyncio.Event()
        self._client = client
        self._resource = resource
        self._on_change = on_change
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector

    async def run(self) -> None:
        retry = FIRST_RETRY_SECONDS
        while True:
            try:
                version = await self._list()
                retry = FIRST_RETRY_SECONDS
                await self._watch(version)
            except (ApiError, httpx.HTTPError) as error:
                if isinstance(error, ApiError) and error.status == 410:
                    continue
                logger.warning("watch of %s: %s; again in %.1f s", self._resource.plural, error, retry)
                await asyncio.sleep(retry)
                retry = min(retry * 2, LONGEST_RETRY_SECONDS)

    async def _list(self) -> str:
        items, version = await self._client.list(
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        found = {key_of(item): item for item in items}
        for key in [key for key in self.objects if key not in found]:
            self._forget(key)
        for item in items:
            self._remember(item)
        self.synced.set()
        return version

    async def _watch(self, version: str) -> None:
        while True:
            async for event in self._client.watch(
                self._resource,
                self._namespace,
                resource_version=version,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
            ):
                version = event.object["metadata"]["resourceVersion"]
                if event.type == "DELETED":
                    self.objects[key_of(event.object)] = event.object
                    self._forget(key_of(event.object))
                elif event.type != "BOOKMARK":
                    self._remember(event.object)

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
