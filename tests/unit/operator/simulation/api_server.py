"""An API server in memory."""

import copy
import itertools
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
from unit.operator.simulation.faults import Faults

from mlinfra.kube import ApiError
from mlinfra.kube.resource import JOBS, ResourceType
from mlinfra_operator.conditions import timestamp

Object = dict[str, Any]
Objects = list[Object]
NAMESPACE = "team"


class Api:
    """An API server in memory; the part of KubernetesClient that the controllers use."""

    def __init__(self, faults: Faults, clock: Callable[[], datetime]) -> None:
        self.faults = faults
        self.objects: dict[tuple[str, str], Object] = {}
        self.children_created: dict[str, int] = {}
        self.refused: set[str] = set()
        """Plurals of what a quota allows no more of."""
        self.on_create: Callable[[ResourceType, Object], None] = lambda *_: None
        """Called with each object before it is stored."""
        self._clock = clock
        self._numbers = itertools.count(1)

    def put(self, resource: ResourceType, body: Object, manager: str) -> Object:
        key = (resource.plural, body["metadata"]["name"])
        if key in self.objects:
            raise ApiError(409, "AlreadyExists", f"{key} already exists")
        obj = copy.deepcopy(body)
        metadata = obj["metadata"]
        number = next(self._numbers)
        metadata |= {"namespace": NAMESPACE, "uid": f"uid-{number}", "generation": 1}
        metadata |= {"resourceVersion": str(number), "creationTimestamp": timestamp(self._clock())}
        self._own_stage(obj, manager)
        self.on_create(resource, obj)
        self.objects[key] = obj
        if resource == JOBS:
            owner = metadata["ownerReferences"][0]["uid"]
            self.children_created[owner] = self.children_created.get(owner, 0) + 1
        return copy.deepcopy(obj)

    def change(
        self, resource: ResourceType, name: str, patch: Object, manager: str, *, spec: bool = True
    ) -> Object:
        obj = self.objects.get((resource.plural, name))
        if obj is None:
            raise ApiError(404, "NotFound", f"{name} not found")
        metadata = dict(patch.get("metadata", {}))
        finalizers = metadata.pop("finalizers", None)
        annotations = metadata.pop("annotations", {})
        for field, expected in metadata.items():
            if obj["metadata"][field] != expected:
                raise ApiError(409, "Conflict", f"{field} differs")
        if finalizers is not None:
            obj["metadata"]["finalizers"] = finalizers
        obj["metadata"].setdefault("annotations", {}).update(annotations)
        part = "spec" if spec else "status"
        if part in patch:
            obj[part] = patched(obj.get(part) or {}, patch[part])
            if spec:
                obj["metadata"]["generation"] += 1
                self._own_stage(obj, manager)
        obj["metadata"]["resourceVersion"] = str(next(self._numbers))
        if finalizers == [] and "deletionTimestamp" in obj["metadata"]:
            del self.objects[resource.plural, name]
        return copy.deepcopy(obj)

    def _own_stage(self, obj: Object, manager: str) -> None:
        obj["metadata"]["managedFields"] = [
            {"manager": manager, "fieldsV1": {"f:spec": {f"f:{name}": {} for name in obj["spec"]}}}
        ]

    async def create(
        self, resource: ResourceType, body: Object, namespace: str, *, field_manager: str
    ) -> Object:
        def put() -> Object:
            if resource.plural in self.refused:
                raise ApiError(403, "Forbidden", "exceeded quota")
            return self.put(resource, body, field_manager)

        return self._ask(put, write=True)

    async def merge_patch(
        self,
        resource: ResourceType,
        name: str,
        patch: Object,
        namespace: str,
        *,
        field_manager: str,
        subresource: str | None = None,
    ) -> Object:
        spec = subresource is None
        return self._ask(lambda: self.change(resource, name, patch, field_manager, spec=spec), write=True)

    async def find(self, resource: ResourceType, name: str, namespace: str) -> Object | None:
        return self._ask(lambda: copy.deepcopy(self.objects.get((resource.plural, name))))

    async def get(self, resource: ResourceType, name: str, namespace: str) -> Object:
        found = await self.find(resource, name, namespace)
        if found is None:
            raise ApiError(404, "NotFound", f"{name} not found")
        return found

    async def delete(
        self,
        resource: ResourceType,
        name: str,
        namespace: str,
        *,
        uid: str,
        resource_version: str | None = None,
        **_: Any,
    ) -> None:
        self._ask(lambda: self.begin_deletion(resource, name, uid, resource_version), write=True)

    def begin_deletion(
        self, resource: ResourceType, name: str, uid: str, resource_version: str | None = None
    ) -> None:
        """Mark what something waits for; what nothing waits for is gone."""
        obj = self.objects.get((resource.plural, name))
        if obj is None:
            return
        metadata = obj["metadata"]
        if metadata["uid"] != uid:
            raise ApiError(409, "Conflict", "the UID differs")
        if resource_version not in (None, metadata["resourceVersion"]):
            raise ApiError(409, "Conflict", "the resourceVersion differs")
        # The operator deletes Jobs in the foreground: their pods end first.
        if resource == JOBS or metadata.get("finalizers"):
            metadata["deletionTimestamp"] = timestamp(self._clock())
            metadata["resourceVersion"] = str(next(self._numbers))
        else:
            del self.objects[resource.plural, name]

    def collect_garbage(self) -> None:
        """Delete what has lost its owner, and the Jobs whose pods have ended by now."""
        living = {obj["metadata"]["uid"] for obj in self.objects.values()}
        for key, obj in list(self.objects.items()):
            owners = obj["metadata"].get("ownerReferences", ())
            orphaned = owners and not any(owner["uid"] in living for owner in owners)
            if orphaned or (key[0] == JOBS.plural and "deletionTimestamp" in obj["metadata"]):
                del self.objects[key]

    async def list(
        self,
        resource: ResourceType,
        namespace: str,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> tuple[Objects, str]:
        def chosen() -> Objects:
            return [
                obj
                for obj in self.of(resource)
                if _selected(obj["metadata"].get("labels", {}), label_selector)
                and _selected({"metadata.name": obj["metadata"]["name"]}, field_selector)
            ]

        return self._ask(chosen), self.version()

    def _ask(self, act: Callable[[], Any], *, write: bool = False) -> Any:
        return self.faults.request(act, lambda: httpx.ReadTimeout("lost"), write=write)

    def version(self) -> str:
        """The resourceVersion of a list."""
        return str(next(self._numbers))

    def of(self, resource: ResourceType) -> Objects:
        return [copy.deepcopy(obj) for (plural, _), obj in self.objects.items() if plural == resource.plural]


def _selected(told: dict[str, str], selector: str | None) -> bool:
    name, _, value = (selector or "").partition("=")
    return selector is None or told.get(name) == value


def patched(old: Object, patch: Object) -> Object:
    """An object after a JSON merge patch."""
    found = dict(old)
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict):
            found[name] = patched(found.get(name) or {}, value)
        else:
            found[name] = value
    return found


def ended(job: Object) -> bool:
    """Whether a batch/v1 Job has come to its end."""
    return bool((job.get("status") or {}).get("conditions"))
