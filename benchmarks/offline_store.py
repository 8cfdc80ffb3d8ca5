"""Reads and appends of the offline store beside a bare pyarrow dataset of the same files, in one run.

Usage: python -m benchmarks.offline_store [--small]

The bare reads open the group's folder as a Hive-partitioned dataset and filter it by date: what one writes
without a feature store. They know nothing of commits, so they read what half a write left, and rows that were
written twice, twice. Equal answers are checked before anything is timed. The exit code is 1 where a median
misses its promise.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import typer
from rich.console import Console

from benchmarks.side_by_side import Comparison, alternate, report
from mlinfra.features import FeatureStore

GROUP = "prices"
FEATURES = [f"f{number:02}" for number in range(50)]
WANTED = FEATURES[::5]
KEYS = ["event_timestamp", "entity"]
FIRST = pd.Timestamp("2024-01-01").as_unit("us")
ENTITIES = 20
DAYS_READ = 7
AT_MOST_BARE = 1.3
AT_MOST_SMALLEST = 1.3
MEBIBYTE = 1 << 20
HIVE = ds.partitioning(pa.schema([("date", pa.string())]), flavor="hive")
PEAK = """
import sys
from pathlib import Path
import pyarrow as pa
from mlinfra.features import FeatureStore
table = FeatureStore(Path(sys.argv[1])).read_offline_features(
    sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5].split(","), as_="arrow"
)
print(table.nbytes, pa.default_memory_pool().max_memory())
"""


def main(
    small: Annotated[bool, typer.Option(help="A few seconds of work, to see that it runs.")] = False,
) -> None:
    """Measure, compare, and print."""
    days, rows_a_day, batch, rounds = (60, 100, 1_000, 2) if small else (365, 2_740, 10_000, 9)
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        store = FeatureStore(Path(name) / "whole")
        rows = _rows(0, days * rows_a_day, rows_a_day)
        store.write_offline_features(GROUP, rows, partition_by="day")
        first, last = (str(FIRST + pd.Timedelta(days=days // 2 + at))[:10] for at in (0, DAYS_READ - 1))
        work = f"{DAYS_READ} of {days} days, {len(WANTED)} of {len(FEATURES)} columns of {len(rows):,} rows"
        comparisons = _reads(store, first, last, work, rounds)
        _tell_memory(console, store, rows, first, last)
        comparisons += _appends(Path(name), days * rows_a_day, rows_a_day, batch, rounds)
        code = report(console, "Offline store", comparisons, packages=["pyarrow", "pandas"])
    raise typer.Exit(code)


def _rows(first: int, number: int, rows_a_day: int) -> pa.Table:
    """Rows of consecutive times, of which the first is the ``first`` of all."""
    rng = np.random.default_rng(first)
    seconds = (first + np.arange(number)) * 86_400 // rows_a_day
    times = FIRST.to_datetime64() + seconds.astype("timedelta64[s]")
    keys = [f"E{entity:02}" for entity in np.arange(first, first + number) % ENTITIES]
    return pa.table({KEYS[0]: times, KEYS[1]: keys} | {name: rng.normal(size=number) for name in FEATURES})


def _reads(store: FeatureStore, first: str, last: str, work: str, rounds: int) -> list[Comparison]:
    folder = store.root / "offline" / GROUP
    wanted, period = [*KEYS, *WANTED], (ds.field("date") >= first) & (ds.field("date") <= last)

    def opened() -> ds.Dataset:
        return ds.dataset(folder, format="parquet", partitioning=HIVE)

    held = opened()
    calls: dict[str, Callable[[], Any]] = {
        "ours": lambda: store.read_offline_features(GROUP, first, last, WANTED, as_="arrow"),
        "bare dataset": lambda: opened().to_table(columns=wanted, filter=period),
        "bare dataset, opened before": lambda: held.to_table(columns=wanted, filter=period),
    }
    in_pandas: dict[str, Callable[[], Any]] = {
        "ours": lambda: store.read_offline_features(GROUP, first, last, WANTED),
        "bare dataset": lambda: opened().to_table(columns=wanted, filter=period).to_pandas(),
    }
    answers = [call() for call in calls.values()]
    assert len(answers[0]) > 0
    for answer in answers[1:]:
        assert answer.sort_by([(name, "ascending") for name in KEYS]).equals(
            answers[0].sort_by([(name, "ascending") for name in KEYS])
        )
    pd.testing.assert_frame_equal(
        *(call().sort_values(KEYS, ignore_index=True) for call in in_pandas.values())
    )
    arrow = alternate(calls, rounds=rounds, calls=3)
    pandas = alternate(in_pandas, rounds=rounds, calls=3)
    return [
        Comparison(f"{work}, Arrow", arrow["ours"], arrow["bare dataset"], at_most=AT_MOST_BARE),
        Comparison(f"{work}, Arrow", arrow["ours"], arrow["bare dataset, opened before"]),
        Comparison(f"{work}, pandas", pandas["ours"], pandas["bare dataset"], at_most=AT_MOST_BARE),
    ]


def _appends(folder: Path, most: int, rows_a_day: int, batch: int, rounds: int) -> list[Comparison]:
    """The same appends to groups of three sizes, each to days of their own behind those that are there."""
    sizes = [most // 100, most // 10, most]
    calls: dict[str, Callable[[], Any]] = {}
    for size in sizes:
        store = FeatureStore(folder / f"of {size}")
        store.write_offline_features(GROUP, _rows(0, size, rows_a_day), partition_by="day")
        calls[f"{size:,} rows"] = _appender(store, -(-size // rows_a_day) * rows_a_day, batch, rows_a_day)
    timings = alternate(calls, rounds=rounds)
    smallest = timings[f"{sizes[0]:,} rows"]
    return [
        Comparison(
            f"append {batch:,} rows to {size:,}",
            timings[f"{size:,} rows"],
            smallest,
            at_most=AT_MOST_SMALLEST,
        )
        for size in sizes[1:]
    ]


def _appender(store: FeatureStore, first: int, batch: int, rows_a_day: int) -> Callable[[], Any]:
    days = -(-batch // rows_a_day)
    batches = [_rows(first + at * days * rows_a_day, batch, rows_a_day) for at in range(3)]
    turn = count()
    return lambda: store.write_offline_features(GROUP, batches[next(turn) % len(batches)])


def _tell_memory(console: Console, store: FeatureStore, rows: pa.Table, first: str, last: str) -> None:
    whole_end = str(rows[KEYS[0]][-1].as_py())[:10]
    console.print("Memory that Arrow holds at most in a process that only reads:")
    cases = {
        f"{DAYS_READ} days, {len(WANTED)} columns": (first, last, WANTED),
        "the whole group": (str(FIRST)[:10], whole_end, FEATURES),
    }
    for what, (start, end, columns) in cases.items():
        command = [sys.executable, "-c", PEAK, str(store.root), GROUP, start, end, ",".join(columns)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        size, peak = (int(each) / MEBIBYTE for each in done.stdout.split())
        console.print(f"  {what}: result {size:.1f} MiB, peak {peak:.1f} MiB", highlight=False)


if __name__ == "__main__":
    typer.run(main)
