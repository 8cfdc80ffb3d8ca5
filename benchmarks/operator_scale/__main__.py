"""The operator under many TrainingJobs, beside the same number of plain Jobs in the same run.

Usage: python -m benchmarks.operator_scale [--jobs N ...] [--live N] [--small]

Plain batch/v1 Jobs on simulated nodes (kwok) are the floor: what the API server, the Job's controller and
the scheduler take. TrainingJobs are measured twice, without MLflow and with a real server, whose own calls
then count into the floor, in time and in CPU. The operator runs with the packages of its lock file. Figures
are told as soon as they are measured. Everything runs on this machine, in a temporary folder that is deleted
at the end. The exit code is 1 where something misses what is promised.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.operator_scale.experiments import (
    Idle,
    Restarted,
    Trained,
    at_rest,
    bare_calls,
    idle,
    plain_jobs,
    restart,
    training_jobs,
)
from benchmarks.operator_scale.world import PODS_PER_NODE, World, world
from benchmarks.side_by_side import (
    EXIT_MISSED,
    Comparison,
    Timing,
    machine,
    show,
    timing_told,
    unbounded,
)
from mlinfra.cli.running import expected_errors, run
from mlinfra.cli.steps import Steps
from mlinfra.local.binaries import ETCD_VERSION, KUBERNETES_VERSION, KWOK_VERSION

TITLE = "Creation to pod, TrainingJobs beside plain Jobs"
WARM_UP = 10
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


class Findings:
    """Tells each figure once it is measured, and knows whether one missed its promise."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.missed = False

    def add(self, title: str, comparisons: Sequence[Comparison], limits: Sequence[Limit]) -> None:
        """Tell of figures that belong together."""
        if comparisons:
            show(self._console, title, comparisons)
        _show(self._console, "The operator itself" if comparisons else title, limits)
        self.missed |= not all([each.holds for each in comparisons] + [each.holds for each in limits])

    def floor(self, name: str, seconds: tuple[float, ...]) -> None:
        """Tell of what others take, which has no promise."""
        self._console.print(f"{name}: median and p99 {timing_told(Timing(name, seconds))}", highlight=False)


def main(
    jobs: Annotated[list[int] | None, typer.Option(min=0, help="How many at once; 0 for none.")] = None,
    live: Annotated[int | None, typer.Option(min=0, help="How many at rest; 0 for none.")] = None,
    small: Annotated[bool, typer.Option(help="Few: whether it runs, not how fast.")] = False,
) -> None:
    """Measure the operator under load on this machine."""
    sizes = tuple(jobs) if jobs else (SMALL_SIZES if small else SIZES)
    resting = live if live is not None else (SMALL_LIVE if small else LIVE)
    console = Console()
    found = Findings(console)
    console.print(machine(("mlflow", "kopf", "httpx")), highlight=False, soft_wrap=True)
    console.print(
        f"Kubernetes {KUBERNETES_VERSION}, etcd {ETCD_VERSION}, kwok {KWOK_VERSION}", highlight=False
    )
    with expected_errors(), tempfile.TemporaryDirectory(prefix="mlinfra-bench-") as folder:
        run(_measure(Path(folder), tuple(size for size in sizes if size), resting, Steps(console), found))
    console.print(machine(), highlight=False, soft_wrap=True)
    if found.missed:
        raise typer.Exit(EXIT_MISSED)


async def _measure(folder: Path, sizes: tuple[int, ...], resting: int, step: Steps, found: Findings) -> None:
    nodes = -(-max((*sizes, resting + 1)) // PODS_PER_NODE) + 1
    async with world(folder, step, nodes=nodes) as there:
        await plain_jobs(there, WARM_UP)
        await training_jobs(there, WARM_UP, tracked=True)
        for size in sizes:
            await _measure_size(there, size, found)
        if resting:
            await _measure_rest(there, resting, found)


async def _measure_size(there: World, size: int, found: Findings) -> None:
    floor = await plain_jobs(there, size)
    found.floor(f"{size} plain Jobs", floor)
    untracked = await training_jobs(there, size, tracked=False)
    work = f"{size}, no MLflow"
    found.add(
        TITLE,
        compared(work, untracked.create_to_pod, "plain Jobs", floor),
        limits_of(work, untracked),
    )
    calls = await bare_calls(there, size)
    found.floor(f"{size} times what MLflow is asked", calls.before_job)
    tracked = await training_jobs(there, size, tracked=True)
    work = f"{size}, MLflow"
    # The slowest Job with the slowest answer, and so on down.
    with_calls = tuple(job + call for job, call in zip(floor, calls.before_job, strict=True))
    found.add(
        TITLE,
        compared(work, tracked.create_to_pod, "plain Jobs + MLflow's calls", with_calls),
        limits_of(work, tracked, client_milliseconds=calls.cpu_milliseconds),
    )


async def _measure_rest(there: World, count: int, found: Findings) -> None:
    title = f"{count} TrainingJobs at rest"
    namespace = await at_rest(there, count)
    found.add(title, [], limits_of_rest(count, await idle(there, namespace)))
    found.add(title, [], limits_of_restart(count, await restart(there, namespace)))


def compared(work: str, ours: tuple[float, ...], other: str, floor: tuple[float, ...]) -> list[Comparison]:
    """Ours beside the floor, at the median and at the 99th percentile."""
    at_median = Comparison(work, Timing("ours", ours), Timing(other, floor), at_most=AT_MOST_TIMES_THE_FLOOR)
    ours_slowest, other_slowest = (
        Timing(timing.name, (timing.percentile(PERCENTILE),)) for timing in (at_median.ours, at_median.other)
    )
    at_tail = Comparison(
        f"{work}: p{PERCENTILE}", ours_slowest, other_slowest, at_most=AT_MOST_TIMES_THE_FLOOR
    )
    return [at_median, at_tail]


def limits_of(work: str, trained: Trained, *, client_milliseconds: float = 0.0) -> list[Limit]:
    """What each TrainingJob may cost, beside what MLflow's own client takes for it."""
    own = trained.cpu_milliseconds - client_milliseconds
    beside = [Limit(work, "CPU of MLflow's client alone", client_milliseconds, "ms")]
    return [
        Limit(work, "writes a TrainingJob", trained.writes, "", WRITES_OF_A_LIFE),
        *(beside if client_milliseconds else []),
        Limit(work, "operator's CPU a TrainingJob", own, "ms", CPU_MILLISECONDS),
        Limit(work, "operator's memory at most", trained.peak_mib, "MiB"),
    ]


def limits_of_rest(count: int, resting: Idle) -> list[Limit]:
    """What many TrainingJobs may cost while nothing happens."""
    work = f"{count} at rest"
    return [
        Limit(work, "operator's memory", resting.resident_mib, "MiB", RESIDENT_MIB),
        Limit(work, "operator's memory at most", resting.peak_mib, "MiB"),
        Limit(work, "operator's CPU of a core", resting.share * 100, "%", IDLE_SHARE * 100),
    ]


def limits_of_restart(count: int, restarted: Restarted) -> list[Limit]:
    """What many TrainingJobs may cost when the operator starts again."""
    work = f"{count} at rest"
    return [
        Limit(work, "restart to the next pod", restarted.seconds, "s", RESTART_SECONDS),
        Limit(work, "objects that the restart wrote", restarted.written, "", 0),
        Limit(work, "memory after the restart", restarted.resident_mib, "MiB", RESIDENT_MIB),
        Limit(work, "memory at most after the restart", restarted.peak_mib, "MiB"),
    ]


def _show(console: Console, title: str, limits: Sequence[Limit]) -> None:
    table = Table(title=title, title_justify="left")
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
    unbounded(console).print(table)


if __name__ == "__main__":
    typer.run(main)
