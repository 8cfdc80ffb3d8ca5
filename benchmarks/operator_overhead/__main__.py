"""The operator's overhead: from apply to the pod running, and from the pod's end to Production.

Usage: python -m benchmarks.operator_overhead [--jobs N] [--small]

A private platform is started in a temporary folder and deleted at the end. All TrainingJobs train the
same model, so each new version also takes Production from the one before. The exit code is 1 where a
median misses its limit.
"""

import os
import platform
import signal
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.operator_overhead.measure import Sample, time_training_job, watching
from mlinfra.cli.running import expected_errors, run
from mlinfra.cli.steps import Steps
from mlinfra.local.binaries import ETCD_VERSION, KUBERNETES_VERSION
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.platform import Platform
from mlinfra.local.state import ClusterState

CLUSTER = "operator-overhead"
APPLY_TO_RUNNING_SECONDS = 1.0
END_TO_PRODUCTION_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What one kind of time came to, in seconds; p90 is by nearest rank."""

    name: str
    limit: float
    median: float
    p90: float
    longest: float

    @classmethod
    def of(cls, name: str, seconds: Sequence[float], *, limit: float) -> "Summary":
        ordered = sorted(seconds)
        rank = -(-len(ordered) * 9 // 10)
        return cls(name, limit, statistics.median(ordered), ordered[rank - 1], ordered[-1])

    @property
    def holds(self) -> bool:
        return self.median < self.limit


def main(
    jobs: Annotated[int, typer.Option(min=1, help="How many TrainingJobs are timed.")] = 10,
    small: Annotated[bool, typer.Option(help="Two of them: whether it runs, not how fast.")] = False,
) -> None:
    """Measure the operator's overhead on this machine."""
    jobs = 2 if small else jobs
    console = Console()
    with expected_errors(), tempfile.TemporaryDirectory(prefix="mlinfra-bench-") as folder:
        load = os.getloadavg()[0]
        started = Platform(LocalCluster(ClusterState(Path(folder) / "state", CLUSTER)))
        try:
            samples = run(_measure(started, jobs, Path(folder), Steps(console)))
        finally:
            _tear_down(started)
        summaries = [
            Summary.of(
                "apply to pod Running",
                [sample.apply_to_running for sample in samples],
                limit=APPLY_TO_RUNNING_SECONDS,
            ),
            Summary.of(
                "pod's end to Production",
                [sample.end_to_production for sample in samples],
                limit=END_TO_PRODUCTION_SECONDS,
            ),
        ]
        _show(console, summaries, jobs=jobs, load=load)
    if not all(summary.holds for summary in summaries):
        raise typer.Exit(1)


async def _measure(started: Platform, jobs: int, folder: Path, steps: Steps) -> list[Sample]:
    samples = []
    with started.cluster.session("the benchmark operator_overhead") as session:
        await started.up(session, steps)
        async with started.cluster.client() as client, watching(client) as sightings:
            with steps("warm-up"):
                await time_training_job(client, sightings, "warm-up", folder=folder)
            with steps(f"{jobs} TrainingJobs, one after another") as tell:
                for number in range(1, jobs + 1):
                    tell(f"{number} of {jobs}")
                    samples.append(
                        await time_training_job(client, sightings, f"timed-{number}", folder=folder)
                    )
    return samples


def _tear_down(started: Platform) -> None:
    # A second interrupt must not leave processes behind.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    started.cluster.down(delete=True)


def _show(console: Console, summaries: Sequence[Summary], *, jobs: int, load: float) -> None:
    table = Table(title=f"Overhead of the operator, {jobs} TrainingJobs, seconds", title_justify="left")
    table.add_column("from – to")
    for column in ("median", "p90", "max", "limit of the median", ""):
        table.add_column(column, justify="right")
    for summary in summaries:
        table.add_row(
            summary.name,
            f"{summary.median:.2f}",
            f"{summary.p90:.2f}",
            f"{summary.longest:.2f}",
            f"{summary.limit:.2f}",
            "held" if summary.holds else "missed",
        )
    console.print(table)
    cores = len(os.sched_getaffinity(0))
    console.print(
        f"{cores} cores ({platform.machine()}), load average {load:.2f} before the start; "
        f"Kubernetes {KUBERNETES_VERSION}, etcd {ETCD_VERSION}, MLflow {version('mlflow')}, "
        f"kopf {version('kopf')}, Python {platform.python_version()}, mlinfra {version('mlinfra')}",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    typer.run(main)
