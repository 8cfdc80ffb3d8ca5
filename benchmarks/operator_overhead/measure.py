"""Times TrainingJobs on a running platform, by watching what the API server tells."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlinfra.errors import MlinfraError
from mlinfra.kube import KubernetesClient
from mlinfra.kube.informer import ChangeType, Informer
from mlinfra.kube.resource import MODEL_VERSIONS, PODS, TRAINING_JOBS
from mlinfra.resources.base import API_VERSION
from mlinfra.resources.names import TRAINING_JOB_LABEL

NAMESPACE = "default"
MODEL_NAME = "operator-overhead"
POD = Path(__file__).with_name("pod.py")
JOB_SECONDS = 120.0
FIELD_MANAGER = "operator-overhead"


@dataclass(frozen=True, slots=True)
class Sample:
    """One TrainingJob's times, in seconds."""

    apply_to_running: float
    end_to_production: float


class Sightings:
    """When a watch first told of something, by the wall clock: the pod writes its end by that clock too."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], float] = {}
        self._failures: dict[str, str] = {}
        self._changed = asyncio.Event()

    def pod_changed(self, change: ChangeType, pod: dict[str, Any]) -> None:
        if change != "DELETED" and pod.get("status", {}).get("phase") in ("Running", "Succeeded", "Failed"):
            self._saw("running", pod["metadata"]["labels"][TRAINING_JOB_LABEL])

    def version_changed(self, change: ChangeType, version: dict[str, Any]) -> None:
        if change != "DELETED" and version.get("status", {}).get("phase") == "Production":
            self._saw("production", version["spec"]["source"]["trainingJob"])

    def job_changed(self, change: ChangeType, job: dict[str, Any]) -> None:
        for condition in job.get("status", {}).get("conditions", []):
            if condition["type"] == "Failed" and condition["status"] == "True":
                self._failures[job["metadata"]["name"]] = f"{condition['reason']}: {condition['message']}"
                self._changed.set()

    async def first(self, what: str, name: str) -> float:
        """When it was first seen, as soon as it is.

        Raises:
            MlinfraError: the TrainingJob has failed, or nothing was seen within `JOB_SECONDS`.
        """
        try:
            async with asyncio.timeout(JOB_SECONDS):
                while (what, name) not in self._seen:
                    if name in self._failures:
                        raise MlinfraError(f"TrainingJob {name} failed: {self._failures[name]}")
                    await self._changed.wait()
                    self._changed.clear()
        except TimeoutError:
            raise MlinfraError(f"TrainingJob {name}: not {what} within {JOB_SECONDS:.0f} s") from None
        return self._seen[what, name]

    def _saw(self, what: str, name: str) -> None:
        self._seen.setdefault((what, name), time.time())
        self._changed.set()


@asynccontextmanager
async def watching(client: KubernetesClient) -> AsyncIterator[Sightings]:
    """Watches that are up to date when the block begins, and end with it."""
    sightings = Sightings()
    informers = [
        Informer(
            client,
            PODS,
            namespace=NAMESPACE,
            label_selector=TRAINING_JOB_LABEL,
            on_change=sightings.pod_changed,
        ),
        Informer(client, MODEL_VERSIONS, namespace=NAMESPACE, on_change=sightings.version_changed),
        Informer(client, TRAINING_JOBS, namespace=NAMESPACE, on_change=sightings.job_changed),
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
    for watch in watches:
        if not watch.cancelled():
            # A watch ends by itself only with an error.
            watch.result()


async def time_training_job(
    client: KubernetesClient, sightings: Sightings, name: str, *, folder: Path
) -> Sample:
    """Apply one TrainingJob and follow it to Production.

    Args:
        client: a client that may apply TrainingJobs.
        sightings: what the watches tell.
        name: name of the TrainingJob.
        folder: where its pod writes when it ended.

    Raises:
        MlinfraError: it failed, or took longer than `JOB_SECONDS`.
    """
    end_file = folder / f"{name}.end"
    applied = time.time()
    await client.apply(_training_job(name, end_file), field_manager=FIELD_MANAGER)
    running = await sightings.first("running", name)
    production = await sightings.first("production", name)
    return Sample(running - applied, production - float(end_file.read_text()))


def _training_job(name: str, end_file: Path) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"modelName": MODEL_NAME, "command": [sys.executable, str(POD), str(end_file)]},
    }
