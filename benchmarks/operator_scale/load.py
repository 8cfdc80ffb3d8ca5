"""Creates many Jobs or TrainingJobs at once, and notes when each has its pod and when it has ended."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from mlinfra.errors import MlinfraError
from mlinfra.kube import KubernetesClient
from mlinfra.kube.informer import ChangeType, Informer
from mlinfra.kube.resource import NAMESPACES, PODS, ResourceType
from mlinfra.local.cluster import Step
from mlinfra.resources import TrainingJob
from mlinfra.resources.base import API_VERSION
from mlinfra_operator.trainingjob.job_builder import PodDefaults, build_job

Object = dict[str, Any]

MODEL_NAME = "operator-scale"
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
CREATORS = 16
STALL_SECONDS = 120.0
"""So long nothing may happen before the benchmark gives up."""
POLL_SECONDS = 0.05


@dataclass(slots=True)
class Sightings:
    """When each was created, and first seen with a pod and ended, by a monotonic clock."""

    created: dict[str, float] = field(default_factory=dict)
    pods: dict[str, float] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def pod_changed(self, change: ChangeType, pod: Object) -> None:
        if change == "ADDED":
            self.pods.setdefault(pod["metadata"]["labels"][JOB_NAME_LABEL], time.monotonic())

    def object_changed(self, change: ChangeType, obj: Object) -> None:
        types = {found["type"] for found in _conditions(obj) if found["status"] == "True"}
        if change != "DELETED" and types & {"Complete", "Failed"}:
            self.ended.add(obj["metadata"]["name"])
        if (obj.get("status") or {}).get("phase") == "Running":
            self.running.add(obj["metadata"]["name"])

    def create_to_pod(self) -> tuple[float, ...]:
        """Seconds of each, shortest first."""
        return tuple(sorted(self.pods[name] - created for name, created in self.created.items()))


@asynccontextmanager
async def watching(
    client: KubernetesClient, resource: ResourceType, namespace: str
) -> AsyncIterator[Sightings]:
    """Sightings of one namespace, up to date when the block begins."""
    sightings = Sightings()
    informers = [
        Informer(client, PODS, namespace=namespace, on_change=sightings.pod_changed),
        Informer(client, resource, namespace=namespace, on_change=sightings.object_changed),
    ]
    watches = [asyncio.create_task(informer.run()) for informer in informers]
    try:
        for informer in informers:
            await informer.synced.wait()
        yield sightings
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.wait(watches)


async def create_all(
    client: KubernetesClient,
    resource: ResourceType,
    manifests: Sequence[Object],
    namespace: str,
    sightings: Sightings,
) -> None:
    """Create the objects, a few at a time."""
    waiting = list(reversed(manifests))

    async def creator() -> None:
        while waiting:
            manifest = waiting.pop()
            sightings.created[manifest["metadata"]["name"]] = time.monotonic()
            await client.create(resource, manifest, namespace)

    async with asyncio.TaskGroup() as group:
        for _ in range(CREATORS):
            group.create_task(creator())


async def until(count: Callable[[], int], wanted: int, what: str) -> None:
    """Wait until something has come to a number.

    Raises:
        MlinfraError: it stood still for `STALL_SECONDS`.
    """
    last, since = count(), time.monotonic()
    while last < wanted:
        await asyncio.sleep(POLL_SECONDS)
        now = count()
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > STALL_SECONDS:
            raise MlinfraError(f"{what}: {last} of {wanted} after {STALL_SECONDS:.0f} s without another")


async def create_namespace(client: KubernetesClient, name: str) -> None:
    """A namespace that stays."""
    manifest = {"apiVersion": NAMESPACES.api_version, "kind": NAMESPACES.kind, "metadata": {"name": name}}
    await client.create(NAMESPACES, manifest)


@asynccontextmanager
async def own_namespace(client: KubernetesClient, name: str, step: Step) -> AsyncIterator[str]:
    """A namespace for the block; it is gone with all it held when the block ends well."""
    await create_namespace(client, name)
    yield name
    with step(f"namespace {name} goes"):
        await client.delete(NAMESPACES, name)
        while await client.find(NAMESPACES, name) is not None:
            await asyncio.sleep(POLL_SECONDS)


def training_job(name: str, *, image: str = "image") -> Object:
    """A TrainingJob of an own image; nothing of it is executed."""
    spec = {"modelName": MODEL_NAME, "image": image, "backoffLimit": 0}
    return {"apiVersion": API_VERSION, "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}


def plain_job(name: str, namespace: str) -> Object:
    """The Job that the operator makes of it, of nobody's."""
    defaults = PodDefaults(image="image", tracking_uri="http://mlflow")
    job = TrainingJob.model_validate(
        training_job(name) | {"metadata": {"name": name, "namespace": namespace}}
    )
    manifest = build_job(job, run_id="0" * 32, defaults=defaults)
    manifest["metadata"] = {"name": name}
    return manifest


def names(count: int) -> list[str]:
    """So many names."""
    return [f"scale-{number:05}" for number in range(count)]


def _conditions(obj: Object) -> list[Object]:
    return (obj.get("status") or {}).get("conditions") or []
