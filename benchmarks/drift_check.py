"""A drift check by PSI beside Evidently and bare numpy, in one run on the same rows.

Usage: python -m benchmarks.drift_check [--small]

1M rows of 40 numeric columns and 10 of texts (5 to 1,000 different ones) against 1M reference rows; a few
columns drift. Ours counts the rows in the cells of a profile that was made before, as training makes it, and
scores the counts; making the profile is told beside it. Evidently's data preset and its statistic alone get
data frames; numpy alone computes the same score as ours from the same quantiles. Before anything is timed,
our scores are numpy's, and ours and Evidently find the columns that drifted. The exit code is 1 where a
promise is missed; on few rows nothing is promised.
"""

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.rivals import EVIDENTLY, rival_python, run_rival
from benchmarks.side_by_side import EXIT_MISSED, Comparison, Timing, alternate, duration, report
from mlinfra.monitoring.chunk_store import ChunkStore
from mlinfra.monitoring.chunks import CountedWindow
from mlinfra.monitoring.drift import check_drift
from mlinfra.monitoring.monitor import ModelMonitor
from mlinfra.monitoring.profile import HeldOut, ReferenceProfile, build_profile
from mlinfra.monitoring.references import Column, NumericReference, Reference
from mlinfra.monitoring.scores import drift_scores, population_stability_index
from mlinfra.resources.monitoring import DriftPolicy

EVIDENTLY_SCRIPT = Path(__file__).with_name("rival_scripts") / "evidently_drift.py"
LEVELS = (5, 10, 20, 30, 50, 64, 100, 200, 500, 1000)
NUMERIC = 40
SHIFTED = ("n00", "n10", "n20", "c00", "c04")
THRESHOLD = 0.1
PRESET_TIMES_FASTER, BARE_TIMES_FASTER = 50.0, 20.0
CHECK_SECONDS, ROW_SECONDS = 5e-3, 5e-6
HELD_OUT = 10_000
BATCH_ROWS = (64, 1024)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Columns = Mapping[str, Column]


def main(
    small: Annotated[bool, typer.Option(help="A few seconds of work, to see that it runs.")] = False,
) -> None:
    """Measure, compare, and print."""
    rows, rounds, preset_rounds = (20_000, 2, 1) if small else (1_000_000, 3, 1)
    console = Console()
    reference, current = columns(rows, seed=1, shift=0.0), columns(rows, seed=2, shift=0.6)
    profile = profile_of(reference)
    with tempfile.TemporaryDirectory(prefix="mlinfra-bench-") as name:
        folder = Path(name)
        pq.write_table(pa.table(dict(reference)), folder / "reference.parquet")
        pq.write_table(pa.table(dict(current)), folder / "current.parquet")
        rival = run_rival(
            rival_python("evidently", EVIDENTLY), EVIDENTLY_SCRIPT, [name, str(preset_rounds), str(rounds)]
        )
    check_equal(profile, reference, current, rival["scores"])
    timings = alternate(
        {
            "ours": lambda: our_scores(profile, current),
            "ours, profile and all": lambda: our_scores(profile_of(reference), current),
            "numpy": lambda: numpy_scores(reference, current),
        },
        rounds=rounds,
    )
    preset = Timing("Evidently's preset", tuple(rival["preset"]))
    bare = Timing("Evidently's statistic", tuple(rival["bare"]))
    least = (None, None) if small else (PRESET_TIMES_FASTER, BARE_TIMES_FASTER)
    work = f"{rows:,} x 50 against {rows:,}"
    both = f"{work}, with the profile"
    comparisons = [
        Comparison(work, timings["ours"], preset, times_faster=least[0]),
        Comparison(work, timings["ours"], bare, times_faster=least[1]),
        Comparison(work, timings["ours"], timings["numpy"]),
        Comparison(both, timings["ours, profile and all"], preset),
        Comparison(both, timings["ours, profile and all"], bare),
        Comparison(both, timings["ours, profile and all"], timings["numpy"]),
    ]
    code = report(console, "Drift check, PSI", comparisons, packages=["numpy", "pyarrow"])
    missed = tell(console, [*kept_checks(profile, current), *counting(reference, current)])
    raise typer.Exit(code or (EXIT_MISSED if missed and not small else 0))


def columns(rows: int, *, seed: int, shift: float) -> dict[str, Column]:
    """Numbers of four shapes, and texts of which some are frequent; those of `SHIFTED` move by ``shift``."""
    rng = np.random.default_rng(seed)
    found: dict[str, Column] = {}
    for number in range(NUMERIC):
        name = f"n{number:02}"
        values = rng.normal(shift if name in SHIFTED else 0.0, 1.0, rows)
        shapes = (values, np.exp(values), rng.uniform(size=rows), np.round(values * 100))
        found[name] = values if name in SHIFTED else shapes[number % len(shapes)]
    for number, levels in enumerate(LEVELS):
        name = f"c{number:02}"
        weights = 1.0 / np.arange(1, levels + 1) ** (1.0 + (shift if name in SHIFTED else 0.0))
        texts = np.array([f"level-{level:04}" for level in range(levels)])
        drawn = rng.choice(levels, rows, p=weights / weights.sum())
        found[name] = pa.array(texts).take(pa.array(drawn))
    return found


def profile_of(reference: Columns) -> ReferenceProfile:
    """As training makes it, of a classifier of two classes."""
    rng = np.random.default_rng(3)
    held = {name: values[:HELD_OUT] for name, values in reference.items()}
    outputs, label = rng.dirichlet([1.0, 1.0], HELD_OUT), rng.integers(0, 2, HELD_OUT)
    return build_profile(reference, HeldOut(held, outputs, label), classes=[0, 1])


def our_scores(profile: ReferenceProfile, current: Columns) -> dict[str, float]:
    """Count, then score the counts."""
    window = profile.layout.by_name(profile.count_features(current).cells[np.newaxis])
    scores = drift_scores(profile.features, window, "PSI")
    return {name: float(score) for name, (score,) in scores.items()}


def numpy_scores(reference: Columns, current: Columns) -> dict[str, float]:
    """The textbook's PSI over twentieths of the reference, or over all categories, with numpy alone."""
    found = {}
    for name, before in reference.items():
        after = current[name]
        if isinstance(before, pa.Array):
            levels, counts = np.unique(np.asarray(before).astype(str), return_counts=True)
            others, found_counts = np.unique(np.asarray(after).astype(str), return_counts=True)
            known = dict(zip(others.tolist(), found_counts.tolist(), strict=True))
            now = np.array([known.get(level, 0) for level in levels.tolist()])
        else:
            edges = np.unique(np.quantile(before, np.linspace(0, 1, 21)[1:-1]))
            counts, now = (
                np.bincount(np.searchsorted(edges, each, side="right"), minlength=len(edges) + 1)
                for each in (before, after)
            )
        p, q = (each / each.sum() + 1e-12 for each in (counts, now))
        found[name] = float(((q - p) * np.log(q / p)).sum())
    return found


def check_equal(
    profile: ReferenceProfile, reference: Columns, current: Columns, theirs: Mapping[str, float]
) -> None:
    """Ours is numpy's where both have the same cells; both find the columns that drifted."""
    ours, bare = our_scores(profile, current), numpy_scores(reference, current)
    for each in profile.features:
        if isinstance(each, NumericReference):
            np.testing.assert_allclose(textbook(each, current), bare[each.name], rtol=1e-6, atol=1e-9)
    moved = set(SHIFTED)
    found, evidently = (
        {name for name, score in scores.items() if score > THRESHOLD} for scores in (ours, theirs)
    )
    # On few rows Evidently's score of many categories is high without drift.
    if found != moved or not moved <= evidently:
        raise AssertionError(f"{sorted(moved)} were moved; ours: {sorted(found)}, its: {sorted(evidently)}")


def textbook(reference: Reference, current: Columns) -> float:
    """PSI without what smooths it."""
    before = reference.distribution(reference.counts)
    after = reference.distribution(reference.count(current[reference.name]))
    return float(population_stability_index(before, after, added=0.0))


Figure = tuple[str, Timing, float | None]


def kept_checks(profile: ReferenceProfile, current: Columns) -> list[Figure]:
    """Checks of what was counted before, of one window and of as many chunks as a server keeps."""
    rows = len(current["n00"])
    outputs = np.random.default_rng(4).dirichlet([1.0, 1.0], rows)
    window = [CountedWindow(NOW, NOW, profile.count(current, outputs))]
    calls = {"threshold 0.1": DriftPolicy(threshold=THRESHOLD), "calibrated threshold": DriftPolicy()}
    timings = alternate(
        {
            name: lambda policy=policy: check_drift(profile, window, policy, now=NOW)  # type: ignore[misc]
            for name, policy in calls.items()
        },
        rounds=20,
    )
    numbers = {name: values for name, values in current.items() if not isinstance(values, pa.Array)}
    matrix = matrix_of_50(numbers)
    return [
        *(
            (f"check of {rows:,} kept rows, {name}", timing, CHECK_SECONDS)
            for name, timing in timings.items()
        ),
        *servers_checks(matrix, outputs),
    ]


def servers_checks(matrix: NDArray[np.float32], outputs: NDArray[np.float64]) -> list[Figure]:
    """Checks by a server alone, and by one of two whose counts are in the folder that they share."""
    profile, times = numeric_profile(matrix), np.arange(len(matrix), dtype=np.int64) * 1_000_000

    def observed(store: ChunkStore | None) -> ModelMonitor:
        monitor = ModelMonitor(profile, store=store)
        monitor.observe(matrix, outputs, times)
        monitor.keep()
        return monitor

    with tempfile.TemporaryDirectory(prefix="mlinfra-bench-") as folder:

        def store(replica: str) -> ChunkStore:
            return ChunkStore(
                Path(folder), model="m", version="1", profile=profile.id, replica=replica, classes=True
            )

        alone, one, other = observed(None), observed(store("one")), observed(store("other"))
        policy = DriftPolicy(threshold=THRESHOLD)
        files = sum(each.stat().st_size for each in Path(folder).rglob("*.json"))

        def news() -> None:
            other.observe(matrix[:1], outputs[:1], times[-1:])
            other.keep()
            one.check(policy)

        def write() -> None:
            other.observe(matrix[:1], outputs[:1], times[-1:])
            other.keep()

        found = alternate(
            {
                "alone": lambda: alone.check(policy),
                "beside": lambda: one.check(policy),
                "write": write,
                "news": news,
            },
            rounds=20,
        )
    chunks = f"{len(alone.chunks):,} chunks"
    return [
        (f"check of a server's {chunks}", found["alone"], CHECK_SECONDS),
        (
            f"the same, with those of another in a folder, {files / 1e6:.1f} MB",
            found["beside"],
            CHECK_SECONDS,
        ),
        ("what the other takes to write them", found["write"], None),
        ("both: the other's file has changed, and is read", found["news"], None),
    ]


def matrix_of_50(numbers: Mapping[str, Any]) -> NDArray[np.float32]:
    """50 numeric columns side by side as a model reads them, (rows, 50)."""
    named = list(numbers.values())
    return np.column_stack([named[place % len(named)] for place in range(50)]).astype(np.float32)


def numeric_profile(matrix: NDArray[np.float32]) -> ReferenceProfile:
    """The profile of a model that reads 50 numbers."""
    return profile_of({f"f{place:02}": column for place, column in enumerate(matrix.T[:, :100_000])})


def counting(reference: Columns, current: Columns) -> list[Figure]:
    """What a server's monitor takes for a row, in batches."""
    numbers = [
        {name: values for name, values in each.items() if not isinstance(values, pa.Array)}
        for each in (reference, current)
    ]
    profile, matrix = numeric_profile(matrix_of_50(numbers[0])), matrix_of_50(numbers[1])[:20_480]
    outputs = np.random.default_rng(5).dirichlet([1.0, 1.0], len(matrix))
    times = np.arange(len(matrix), dtype=np.int64) * 1_000_000
    figures: list[Figure] = []
    for size in BATCH_ROWS:
        borders = list(pairwise(range(0, len(matrix) + 1, size)))

        def count(borders: list[tuple[int, int]] = borders) -> None:
            for low, high in borders:
                profile.count_matrix(matrix[low:high], outputs[low:high])

        def observe(borders: list[tuple[int, int]] = borders) -> None:
            monitor = ModelMonitor(profile)
            for low, high in borders:
                monitor.observe(matrix[low:high], outputs[low:high], times[low:high])

        timings = alternate({"counting": count, "a server's monitor": observe}, rounds=5)
        rows = borders[-1][1]
        for name, timing in timings.items():
            each = Timing(name, tuple(seconds / rows for seconds in timing.seconds))
            figures.append((f"a row of 50 features, batches of {size}, {name}", each, ROW_SECONDS))
    return figures


def tell(console: Console, figures: list[Figure]) -> bool:
    """Print what is promised in seconds; whether a promise is missed."""
    missed = False
    for what, timing, limit in figures:
        held = limit is None or timing.median <= limit
        missed = missed or not held
        verdict = f"at most {duration(limit)}: {'held' if held else 'missed'}" if limit else ""
        found = f"p50 {duration(timing.median)}, p99 {duration(timing.percentile(99))}"
        console.print(f"{what:<64} {found:<34} {verdict}", highlight=False, soft_wrap=True)
    return missed


if __name__ == "__main__":
    typer.run(main)
