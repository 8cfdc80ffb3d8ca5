"""The operator under many TrainingJobs, beside the same number of plain Jobs in the same run.

Usage: python -m benchmarks.operator_scale [--jobs N ...] [--live N] [--small]

Plain batch/v1 Jobs on simulated nodes (kwok) are the floor: what the API server, the Job's controller and
the scheduler take. TrainingJobs are measured twice, without MLflow and with a real server, whose own calls
then count into the floor. Everything runs on this machine, in a temporary folder that is deleted at the
end. The exit code is 1 where something misses what is promised.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.operator_scale.experiments import (
    AtRest,
    Trained,
    at_rest,
    bare_calls,
    plain_jobs,
    training_jobs,
)
from benchmarks.operator_scale.world import PODS_PER_NODE, World, world
from benchmarks.side_by_side import EXIT_MISSED, LOG_WIDTH, Comparison, Timing, report
from mlinfra.cli.running import expected_errors, run
from mlinfra.cli.steps import Steps
from mlinfra.local.binaries import ETCD_VERSION, KUBERNETES_VERSION, KWOK_VERSION

SIZES, SMALL_SIZES = (300, 1000), (30,)
LIVE, SMALL_LIVE = 5000, 50
AT_MOST_TIMES_THE_FLOOR = 1.4
PERCENTILE = 99
WRITES_OF_A_LIFE = 4.0
CPU_MILLISECONDS = 8.0
RESIDENT_MIB = 150.0
IDLE_SHARE = 0.01
RESTART_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure, and the most that it may be; only told where there is no limit."""

    work: str
    figure: str
    value: float
    unit: str
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        return self.at_most is None or self.value <= self.at_most


@dataclass(slots=True)
class Findings:
    """All that was measured."""

    comparisons: list[Comparison]
    limits: list[Limit]


def main(
    jobs: Annotated[list[int] | None, typer.Option(min=1, help="How many at once.")] = None,
    live: Annotated[int | None, typer.Option(min=0, help="How many at rest; 0 for none.")] = None,
    small: Annotated[bool, typer.Option(help="Few: whether it runs, not how fast.")] = False,
) -> None:
    """Measure the operator under load on this machine."""
    sizes = tuple(jobs) if jobs else (SMALL_SIZES if small else SIZES)
    resting = live if live is not None else (SMALL_LIVE if small else LIVE)
    console = Console()
    found = Findings([], [])
    with expected_errors(), tempfile.TemporaryDirectory(prefix="mlinfra-bench-") as folder:
        run(_measure(Path(folder), sizes, resting, Steps(console), found))
    missed = report(
        console,
        "Creation to pod, TrainingJobs beside plain Jobs",
        found.comparisons,
        packages=("mlflow", "kopf", "httpx"),
    )
    _show(console, found.limits)
    console.print(
        f"Kubernetes {KUBERNETES_VERSION}, etcd {ETCD_VERSION}, kwok {KWOK_VERSION}", highlight=False
    )
    if missed or not all(limit.holds for limit in found.limits):
        raise typer.Exit(EXIT_MISSED)


async def _measure(folder: Path, sizes: tuple[int, ...], resting: int, step: Steps, found: Findings) -> None:
    nodes = -(-max(*sizes, resting + 1) // PODS_PER_NODE) + 1
    async with world(folder, step, nodes=nodes) as there:
        with step("warm-up"):
            await plain_jobs(there, 10)
            await training_jobs(there, 10, tracked=True)
        for size in sizes:
            await _measure_size(there, size, step, found)
        if resting:
            with step(f"{resting} TrainingJobs at rest, and a restart"):
                found.limits += limits_of_rest(resting, await at_rest(there, resting))


async def _measure_size(there: World, size: int, step: Steps, found: Findings) -> None:
    with step(f"{size} plain Jobs"):
        floor = await plain_jobs(there, size)
    with step(f"{size} TrainingJobs without MLflow"):
        untracked = await training_jobs(there, size, tracked=False)
    with step(f"{size} times what MLflow is asked"):
        calls = await bare_calls(there, size)
    with step(f"{size} TrainingJobs with MLflow"):
        tracked = await training_jobs(there, size, tracked=True)
    # The slowest Job with the slowest answer, and so on down.
    with_calls = tuple(job + call for job, call in zip(floor, calls, strict=True))
    found.comparisons += compared(f"{size}, no MLflow", untracked.create_to_pod, "plain Jobs", floor)
    found.comparisons += compared(
        f"{size}, MLflow", tracked.create_to_pod, "plain Jobs + MLflow's calls", with_calls
    )
    found.limits += limits_of(f"{size}, no MLflow", untracked, cpu=CPU_MILLISECONDS)
    found.limits += limits_of(f"{size}, MLflow", tracked, cpu=None)


def compared(work: str, ours: tuple[float, ...], other: str, floor: tuple[float, ...]) -> list[Comparison]:
    """Ours beside the floor, at the median and at the 99th percentile."""
    at_median = Comparison(work, Timing("ours", ours), Timing(other, floor), at_most=AT_MOST_TIMES_THE_FLOOR)
    slowest = [
        (Timing(name, (timing.percentile(PERCENTILE),)))
        for name, timing in (("ours", at_median.ours), (other, at_median.other))
    ]
    at_tail = Comparison(f"{work}: p{PERCENTILE}", *slowest, at_most=AT_MOST_TIMES_THE_FLOOR)
    return [at_median, at_tail]


def limits_of(work: str, trained: Trained, *, cpu: float | None) -> list[Limit]:
    """What each TrainingJob may cost."""
    return [
        Limit(work, "writes a TrainingJob", trained.writes, "", WRITES_OF_A_LIFE),
        Limit(work, "operator's CPU a TrainingJob", trained.cpu_milliseconds, "ms", cpu),
        Limit(work, "operator's memory at most", trained.peak_mib, "MiB"),
    ]


def limits_of_rest(count: int, rest: AtRest) -> list[Limit]:
    """What many TrainingJobs may cost while nothing happens, and when the operator starts again."""
    work = f"{count} at rest"
    return [
        Limit(work, "operator's memory", rest.resident_mib, "MiB", RESIDENT_MIB),
        Limit(work, "operator's memory at most", rest.peak_mib, "MiB"),
        Limit(work, "operator's CPU of a core", rest.idle_share * 100, "%", IDLE_SHARE * 100),
        Limit(work, "restart to the next pod", rest.restart_seconds, "s", RESTART_SECONDS),
        Limit(work, "objects that the restart wrote", rest.written, "", 0),
        Limit(work, "memory at most after the restart", rest.restarted_mib, "MiB"),
    ]


def _show(console: Console, limits: list[Limit]) -> None:
    table = Table(title="The operator itself", title_justify="left")
    for column in ("TrainingJobs", "figure"):
        table.add_column(column)
    for column in ("measured", "at most", ""):
        table.add_column(column, justify="right")
    for limit in limits:
        table.add_row(
            limit.work,
            limit.figure,
            f"{limit.value:.3g} {limit.unit}".rstrip(),
            "" if limit.at_most is None else f"{limit.at_most:g} {limit.unit}".rstrip(),
            "" if limit.at_most is None else ("held" if limit.holds else "missed"),
        )
    wide = console if console.is_terminal else Console(file=console.file, width=LOG_WIDTH)
    wide.print(table)


if __name__ == "__main__":
    typer.run(main)
