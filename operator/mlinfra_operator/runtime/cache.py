"""The latest known state of our own objects, never older than what the operator itself has written."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mlinfra.kube.resource import ResourceType

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""An annotation with the whole manifest as text."""
LONGEST_SHARED = 32
"""Characters; longer strings are hardly ever those of another object too."""


def key_of(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def typed(resource: ResourceType, obj: Object) -> Object:
    """The object with the type that lists leave out of their items."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}


def lean(obj: Object) -> Object:
    """The object without what tells how it was applied, and with each of its short strings held only once."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if LAST_APPLIED in (annotations := metadata.get("annotations") or {}):
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != LAST_APPLIED}
    shared: Object = _shared({**obj, "metadata": metadata})
    return shared


def _shared(value: Any) -> Any:
    if isinstance(value, dict):
        return {sys.intern(name): _shared(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shared(item) for item in value]
    return sys.intern(value) if isinstance(value, str) and len(value) <= LONGEST_SHARED else value


class ObjectCache:
    """Objects of one type by namespace and name; an older version never replaces a newer one.

    Args:
        on_change, on_delete: called with each object that is new or changed, or gone.
        keep: what is kept of an object.
    """

    def __init__(
        self,
        on_change: Callable[[Object], None],
        on_delete: Callable[[Object], None],
        *,
        keep: Callable[[Object], Object] = dict,
    ) -> None:
        self.keep = keep
        self._objects: dict[Key, Object] = {}
        self._on_change = on_change
        self._on_delete = on_delete

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self._objects.values()))

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def knows(self, obj: Object) -> bool:
        """Whether an object as a watch or a list tells of it brings no news."""
        old = self._objects.get(key_of(obj))
        return old is not None and not _is_newer(obj, old)

    def observe(self, obj: Object) -> None:
        """An object as a watch or a list tells of it."""
        if self.knows(obj):
            return
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and old["metadata"]["uid"] != obj["metadata"]["uid"]:
            self._on_delete(old)
        kept = self._objects[key] = self.keep(obj)
        self._on_change(kept)

    def wrote(self, obj: Object) -> None:
        """An object as the answer to our own write tells of it; one deleted meanwhile stays deleted.

        The answer also holds what others changed meanwhile, and the watch's news of that is old by now:
        nobody else tells of it.
        """
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and old["metadata"]["uid"] == obj["metadata"]["uid"] and _is_newer(obj, old):
            kept = self._objects[key] = self.keep(obj)
            if _asked_for(kept) != _asked_for(old):
                self._on_change(kept)

    def forget(self, obj: Object) -> None:
        """An object that a watch tells is deleted."""
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and old["metadata"]["uid"] == obj["metadata"]["uid"]:
            del self._objects[key]
            self._on_delete(old)

    def replace(self, objects: Iterable[Object], version: str) -> None:
        """All objects as a list tells; what is not in it is gone, unless it is newer than the list.

        Args:
            objects: the listed objects.
            version: resourceVersion of the list.
        """
        found = {key_of(obj): obj for obj in objects}
        missing = [obj for key, obj in self._objects.items() if key not in found]
        for obj in missing:
            if int(obj["metadata"]["resourceVersion"]) <= int(version):
                self.forget(obj)
        for obj in found.values():
            self.observe(obj)


def _is_newer(obj: Object, old: Object) -> bool:
    """By resourceVersion, which the API server lets clients compare as numbers within one type."""
    return int(obj["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])


def _asked_for(obj: Object) -> tuple[Any, ...]:
    """What others may change of an object: all but its status."""
    metadata = obj["metadata"]
    return (
        metadata.get("generation"),
        metadata.get("annotations") or {},
        metadata.get("labels") or {},
        metadata.get("deletionTimestamp"),
    )
