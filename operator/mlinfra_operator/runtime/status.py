"""Writes a status only where its meaning changed."""

from typing import Any

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.resource import ResourceType
from mlinfra.resources.names import FIELD_MANAGER
from mlinfra_operator.runtime.cache import Object, ObjectCache
from mlinfra_operator.runtime.work_queue import Retry

NOT_FOUND, CONFLICT = 404, 409


def merge_difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The JSON merge patch that makes ``new`` of ``old``; empty where they are equal."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            inner = merge_difference(before, value)
            if inner:
                patch[name] = inner
        elif name not in old or before != value:
            patch[name] = value
    return patch


class StatusWriter:
    """Writes the status of one type of objects, and remembers what the API server answers."""

    def __init__(self, client: KubernetesClient, resource: ResourceType, cache: ObjectCache) -> None:
        self._client = client
        self._resource = resource
        self._cache = cache

    async def write(self, obj: Object, status: dict[str, Any]) -> bool:
        """Whether the status is stored now; False where the object is gone.

        Raises:
            Retry: it is another object by now, or somebody changed it meanwhile: what is written is
                decided anew once the watch has told of it.
        """
        difference = merge_difference(obj.get("status") or {}, status)
        if not difference:
            return True
        metadata = obj["metadata"]
        # Of a status the API server compares the version alone: with the UID of another object it is stored.
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": difference}
        try:
            answer = await self._client.merge_patch(
                self._resource,
                metadata["name"],
                patch,
                metadata["namespace"],
                subresource="status",
                field_manager=FIELD_MANAGER,
            )
        except ApiError as error:
            if error.status == NOT_FOUND:
                return False
            if error.status == CONFLICT:
                raise Retry from error
            raise
        self._cache.wrote(answer)
        return True
