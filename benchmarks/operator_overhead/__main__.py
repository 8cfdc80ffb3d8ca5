"""How long the operator takes: from `apply` to the pod running, and from the pod's end to Production.

The training itself does next to nothing and its time does not count. Run: ``make bench``.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mlinfra.cli.steps import Steps
from mlinfra.kube import KubernetesClient
from mlinfra.kube.informer import Informer
from mlinfra.kube.resource import MODEL_VERSIONS, PODS, ResourceType
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.platform import Platform
from mlinfra.local.state import ClusterState

NAMESPACE = "default"
POD = Path(__file__).with_name("pod.py")
LIMITS = {"apply to pod running": 1.0, "pod's end to Production": 3.0}
"""Seconds that the medians must stay below."""
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds that one TrainingJob took beyond its training."""

    to_running: float
    to_production: float


class Arrivals:
    """When each object was first seen in the state that is waited for, by the label or name it has."""

    def __init__(
        self, client: KubernetesClient, resource: ResourceType, name_of: Callable[[Any], str | None]
    ):
        self._name_of = name_of
        self._seen: dict[str, float] = {}
        self._changed = asyncio.Event()
        self.informer = Informer(client, resource, namespace=NAMESPACE, on_change=self._observe)

    def _observe(self, _: str, obj: dict[str, Any]) -> None:
        name = self._name_of(obj)
        if name is not None and name not in self._seen:
            self._seen[name] = time.time()
            self._changed.set()

    async def of(self, name: str) -> float:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while name not in self._seen:
                self._changed.clear()
                await self._changed.wait()
        return self._seen[name]


def running_job(pod: dict[str, Any]) -> str | None:
    """The Job of a pod that runs."""
    if pod.get("status", {}).get("phase") != "Running":
        return None
    job: str | None = pod["metadata"].get("labels", {}).get("batch.kubernetes.io/job-name")
    return job


def production_model(version: dict[str, Any]) -> str | None:
    """The model of a version that is in Production."""
    phase = version.get("status", {}).get("phase")
    return str(version["spec"]["modelName"]) if phase == "Production" else None


def training_job(name: str, end_file: Path) -> dict[str, Any]:
    return {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "modelName": name,
            "image": "benchmark",
            "command": [sys.executable, str(POD), str(end_file)],
            "promotion": {"stage": "Production", "gates": [{"metric": "test_accuracy", "min": 0.5}]},
        },
    }


async def measure(platform: Platform, folder: Path, jobs: int) -> list[Sample]:
    """Apply trainings one after another; the first one warms up and does not count."""
    samples = []
    async with platform.cluster.client() as client, asyncio.TaskGroup() as group:
        running = Arrivals(client, PODS, running_job)
        promoted = Arrivals(client, MODEL_VERSIONS, production_model)
        watches = [group.create_task(arrivals.informer.run()) for arrivals in (running, promoted)]
        await asyncio.gather(running.informer.synced.wait(), promoted.informer.synced.wait())
        for number in range(jobs + 1):
            name = f"overhead-{number}"
            end_file = folder / name
            applied = time.time()
            await client.apply(training_job(name, end_file), field_manager="benchmark")
            started = await running.of(name)
            in_production = await promoted.of(name)
            ended = float(await asyncio.to_thread(end_file.read_text))
            samples.append(Sample(started - applied, in_production - ended))
        for watch in watches:
            watch.cancel()
    return samples[1:]


async def benchmark(console: Console, jobs: int) -> list[Sample]:
    """Measure on a platform of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mlinfra-overhead-") as folder:
        platform = Platform(LocalCluster(ClusterState(Path(folder) / "state")))
        try:
            with platform.cluster.session("operator_overhead") as session:
                await platform.up(session, Steps(console))
                return await measure(platform, Path(folder), jobs)
        finally:
            await asyncio.to_thread(platform.cluster.down, delete=True)


def report(console: Console, samples: list[Sample]) -> bool:
    """Print the table; whether every median is below its limit."""
    columns = dict(
        zip(
            LIMITS,
            ([sample.to_running for sample in samples], [sample.to_production for sample in samples]),
            strict=True,
        )
    )
    table = Table(title=f"{len(samples)} TrainingJobs, {os.cpu_count()} cores", box=None)
    for heading in ("seconds", "median", "longest", "limit of the median"):
        table.add_column(heading.upper(), justify="left" if heading == "seconds" else "right", no_wrap=True)
    for name, seconds in columns.items():
        median = statistics.median(seconds)
        table.add_row(name, f"{median:.3f}", f"{max(seconds):.3f}", f"{LIMITS[name]:.1f}")
    console.print(table)
    return all(statistics.median(seconds) < LIMITS[name] for name, seconds in columns.items())


def main() -> int:
    parser = argparse.ArgumentParser(prog="operator_overhead", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10, help="how many TrainingJobs are measured")
    console = Console()
    samples = asyncio.run(benchmark(console, parser.parse_args().jobs))
    return 0 if report(console, samples) else 1


if __name__ == "__main__":
    sys.exit(main())
