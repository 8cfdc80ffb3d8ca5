"""Online reads beside Feast's SQLite store, in one run on the same data; equal answers are checked first.

Usage: python -m benchmarks.online_store [--small]

Ours is read through the prepared handle, time to live and status included, once with its memory and once
from LMDB alone. Feast's store has one view of all features, which is its fastest form. Redis, writes and
materialization are reported without a limit. The exit code is 1 where a median misses its promise.
"""

import json
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.rivals import FEAST, rival_python, run_rival
from benchmarks.side_by_side import Comparison, Timing, duration, report
from mlinfra.features import FeatureStore, OnlineReader

FEATURES = [f"f{number}" for number in range(50)]
GROUP = "prices"
TTL = timedelta(days=1)
TIMES_FASTER = 100.0
WARM_UP_CALLS = 200
KEY_COUNTS = (1, 100)
HISTORY_ROWS = 20


def main(
    small: Annotated[bool, typer.Option(help="A few seconds of work, to see that it runs.")] = False,
) -> None:
    """Measure, compare, and print."""
    entities, calls, rounds = (500, 200, 2) if small else (10_000, 2_000, 5)
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values = np.random.default_rng(7).normal(size=(entities, len(FEATURES)))
        keys = {str(count): _keys(entities, count) for count in KEY_COUNTS}
        np.save(folder / "values.npy", values)
        (folder / "reads.json").write_text(json.dumps({"features": FEATURES, "keys": keys}))
        throughput: list[tuple[str, int, float]] = []
        store = _written(folder / "ours", values, throughput)
        feast = rival_python("feast", FEAST)
        script = Path(__file__).with_name("rival_scripts") / "feast_online.py"
        wrote = run_rival(feast, script, [name, "write"])
        throughput.append((f"Feast SQLite: write {entities} x {len(FEATURES)}", entities, wrote["seconds"]))
        comparisons = _compared(
            store, keys, rounds, calls, lambda: run_rival(feast, script, [name, "read", str(calls)])
        )
        code = report(console, "Online reads, 50 features", comparisons, packages=["lmdb", "numpy"])
        _materialized(folder / "ours", entities, throughput)
        redis = _redis(folder, values, keys, calls, throughput)
        _print_unlimited(console, redis, throughput)
    raise typer.Exit(code)


def _keys(entities: int, count: int) -> list[str]:
    return [f"E{number * 97 % entities}" for number in range(count)]


def _written(folder: Path, values: Any, throughput: list[tuple[str, int, float]]) -> FeatureStore:
    store = FeatureStore(folder)
    names = [f"E{number}" for number in range(len(values))]
    started = time.perf_counter()
    store.write_online_features(names, values, feature_group=GROUP, features=FEATURES)
    taken = time.perf_counter() - started
    throughput.append((f"LMDB: write {len(values)} x {len(FEATURES)} in one call", len(values), taken))
    started = time.perf_counter()
    for number in range(100):
        store.write_online_features(names[number], values[number], feature_group=GROUP)
    throughput.append(("LMDB: 100 writes of one entity, each on disk", 100, time.perf_counter() - started))
    return store


def _compared(
    store: FeatureStore,
    keys: dict[str, list[str]],
    rounds: int,
    calls: int,
    feast: Callable[[], dict[str, Any]],
) -> list[Comparison]:
    """Ours and Feast's in turns that change their order; each turn of Feast's is a process of its own."""
    readers = {
        "memory": store.prepare_online(feature_group=GROUP, features=FEATURES, ttl=TTL),
        "LMDB": store.prepare_online(feature_group=GROUP, features=FEATURES, ttl=TTL, memory_rows=0),
    }
    ours: dict[tuple[str, str], list[float]] = {}
    theirs: dict[str, list[float]] = {}

    def turn_of_ours() -> None:
        for kind, reader in readers.items():
            for count, wanted in keys.items():
                ours.setdefault((kind, count), []).extend(timed(reader, wanted, calls))

    def turn_of_feast() -> None:
        answer = feast()
        for count, wanted in keys.items():
            for reader in readers.values():
                read = reader.read(wanted)
                assert not read.status.any(), "a value of ours is not present"
                np.testing.assert_array_equal(read.values, answer["answers"][count])
            theirs.setdefault(count, []).extend(answer["seconds"][count])

    for number in range(rounds):
        for turn in (turn_of_ours, turn_of_feast) if number % 2 else (turn_of_feast, turn_of_ours):
            turn()
    return [
        Comparison(
            f"{count} {'entity' if count == '1' else 'entities'}, {kind}",
            Timing(kind, tuple(seconds)),
            Timing("Feast SQLite", tuple(theirs[count])),
            times_faster=TIMES_FASTER,
        )
        for (kind, count), seconds in ours.items()
    ]


def timed(reader: OnlineReader, keys: list[str], calls: int) -> list[float]:
    """Seconds of each of so many reads, after others that do not count."""
    for _ in range(WARM_UP_CALLS):
        reader.read(keys)
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        reader.read(keys)
        seconds.append(time.perf_counter() - started)
    return seconds


def _materialized(folder: Path, entities: int, throughput: list[tuple[str, int, float]]) -> None:
    store = FeatureStore(folder)
    rows = entities * HISTORY_ROWS
    values = np.random.default_rng(8).normal(size=(rows, 10))
    frame = pd.DataFrame(values, columns=[f"f{number}" for number in range(10)])
    frame["symbol"] = [f"E{number % entities}" for number in range(rows)]
    frame["event_timestamp"] = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(
        np.arange(rows), unit="s"
    )
    store.write_offline_features("history", frame)
    started = time.perf_counter()
    assert store.materialize_incremental("history") == entities
    work = f"LMDB: materialize {rows} offline rows x 10 of {entities} entities"
    throughput.append((work, rows, time.perf_counter() - started))
    read = store.read_online_features([f"E{number}" for number in range(entities)], feature_group="history")
    np.testing.assert_array_equal(read.values, values[-entities:])


def _redis(
    folder: Path,
    values: Any,
    keys: dict[str, list[str]],
    calls: int,
    throughput: list[tuple[str, int, float]],
) -> list[Timing]:
    from tests.servers.redis_server import redis_server

    with redis_server(folder) as uri:
        store = FeatureStore(folder / "redis", online=uri)
        entities = len(values)
        names = [f"E{number}" for number in range(entities)]
        started = time.perf_counter()
        store.write_online_features(names, values, feature_group=GROUP, features=FEATURES)
        taken = time.perf_counter() - started
        throughput.append((f"Redis: write {entities} x {len(FEATURES)} in one call", entities, taken))
        reader = store.prepare_online(feature_group=GROUP, features=FEATURES, ttl=TTL)
        return [
            Timing(f"{count} of {entities} entities", tuple(timed(reader, wanted, calls)))
            for count, wanted in keys.items()
        ]


def _print_unlimited(console: Console, redis: list[Timing], throughput: list[tuple[str, int, float]]) -> None:
    table = Table(title="Without a promise", title_justify="left")
    table.add_column("work")
    for column in ("median", "p99", "rows a second"):
        table.add_column(column, justify="right")
    for timing in redis:
        table.add_row(
            f"Redis on loopback: read {timing.name}", duration(timing.median), duration(timing.percentile(99))
        )
    for work, rows, seconds in throughput:
        table.add_row(work, duration(seconds), "", f"{rows / seconds:,.0f}")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
