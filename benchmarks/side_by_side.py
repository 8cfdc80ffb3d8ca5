"""Times contenders side by side in one run, and tells their ratio against what is promised.

    timings = alternate({"ours": ours, "bare pyarrow": bare}, rounds=7)
    comparison = Comparison("7 of 365 days", timings["ours"], timings["bare pyarrow"], at_most=1.3)
    raise typer.Exit(report(Console(), "Offline store", [comparison]))

Equal answers are the caller's to check before anything is timed.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

EXIT_MISSED = 1
LOG_WIDTH = 180


@dataclass(frozen=True, slots=True)
class Timing:
    """What one contender took, in seconds a call, at least one sample."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def percentile(self, percent: float) -> float:
        """The sample that ``percent`` of all do not exceed, by nearest rank."""
        ordered = sorted(self.seconds)
        rank = max(1, -(-len(ordered) * percent // 100))
        return ordered[int(rank) - 1]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours beside another on the same work; what is promised is of the medians.

    Attributes:
        work: what was done.
        ours, other: what it took.
        at_most: ours may take so many times the other's time.
        times_faster: the other must take at least so many times ours.
    """

    work: str
    ours: Timing
    other: Timing
    at_most: float | None = None
    times_faster: float | None = None

    @property
    def ratio(self) -> float:
        """Our median over the other's."""
        return self.ours.median / self.other.median

    @property
    def promise(self) -> str:
        parts = []
        if self.at_most is not None:
            parts.append(f"at most {self.at_most:g} x its time")
        if self.times_faster is not None:
            parts.append(f"at least {self.times_faster:g} x faster")
        return ", ".join(parts)

    @property
    def holds(self) -> bool:
        slow = self.at_most is not None and self.ratio > self.at_most
        not_faster = self.times_faster is not None and 1 / self.ratio < self.times_faster
        return not (slow or not_faster)


def alternate(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    calls: int = 1,
    warm_up_rounds: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time each contender in each round, in an order that turns round by round.

    Args:
        contenders: what to call, by name.
        rounds: how often each has its turn.
        calls: calls in a turn, each of them one sample.
        warm_up_rounds: rounds before, which do not count.
        clock: gives seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(-warm_up_rounds, rounds):
        for name in names if number % 2 == 0 else reversed(names):
            call = contenders[name]
            for _ in range(calls):
                started = clock()
                call()
                took = clock() - started
                if number >= 0:
                    seconds[name].append(took)
    return {name: Timing(name, tuple(samples)) for name, samples in seconds.items()}


def report(
    console: Console, title: str, comparisons: Sequence[Comparison], *, packages: Sequence[str] = ()
) -> int:
    """Print the comparisons, the machine and the versions; the exit code is 1 where a promise is missed.

    Args:
        console: where to print.
        title: stands above the table.
        comparisons: what was measured.
        packages: installed packages whose version matters here.
    """
    show(console, title, comparisons)
    console.print(machine(packages), highlight=False, soft_wrap=True)
    return 0 if all(each.holds for each in comparisons) else EXIT_MISSED


def show(console: Console, title: str, comparisons: Sequence[Comparison]) -> None:
    """Print the comparisons as a table."""
    table = Table(title=title, title_justify="left")
    table.add_column("work", min_width=14)
    for column in ("ours, p99", "against", "its, p99", "ratio", "promised"):
        table.add_column(column)
    for each in comparisons:
        verdict = f"{each.promise}: {'held' if each.holds else 'missed'}" if each.promise else ""
        table.add_row(
            each.work,
            timing_told(each.ours),
            each.other.name,
            timing_told(each.other),
            ratio_told(each.ratio),
            verdict,
        )
    unbounded(console).print(table)


def unbounded(console: Console) -> Console:
    """The console, wide enough for a table: a log has no width to fit in."""
    return console if console.is_terminal else Console(file=console.file, width=LOG_WIDTH)


def machine(packages: Sequence[str] = ()) -> str:
    """The machine and the versions that figures were measured with, in a line."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("mlinfra", *packages))
    return (
        f"{len(os.sched_getaffinity(0))} cores ({platform.machine()}), load {os.getloadavg()[0]:.2f}; "
        f"Python {platform.python_version()}, {versions}"
    )


def timing_told(timing: Timing) -> str:
    """Median and 99th percentile of a contender."""
    return f"{duration(timing.median)}, {duration(timing.percentile(99))}"


def duration(seconds: float) -> str:
    """Seconds with three digits and a unit that suits them."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def ratio_told(ratio: float) -> str:
    """``1.05 x the time`` of something slower than the other, ``12 x faster`` of something faster."""
    return f"{ratio:.3g} x the time" if ratio >= 1 else f"{1 / ratio:.3g} x faster"
