"""The point-in-time join beside raw DuckDB and Feast, in one run on the same rows.

Usage: python -m benchmarks.point_in_time [--small]

Raw DuckDB joins the store's own Parquet files with one ASOF JOIN, without time to live, order or checks:
the floor. Feast joins the same rows, from one file, with its DuckDB store. Equal values are checked before
anything is timed. The exit code is 1 where a median misses its promise; on little data nothing is promised.
"""

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import typer
from rich.console import Console

from benchmarks.rivals import FEAST, rival_python, run_rival
from benchmarks.side_by_side import Comparison, Timing, alternate, report
from mlinfra.features import FeatureStore

FEAST_SCRIPT = Path(__file__).with_name("rival_scripts") / "feast_point_in_time.py"
FEATURES = [f"f{number}" for number in range(10)]
GROUP = "prices"
TTL = timedelta(days=365)
FIRST = pd.Timestamp("2024-01-01")
DAY_SECONDS = 86_400
AT_MOST_RAW = 1.3
TIMES_FASTER_THAN_FEAST = 5.0
NEWEST = (
    "QUALIFY row_number() OVER (PARTITION BY entity, event_timestamp ORDER BY created_timestamp DESC) = 1"
)


def main(
    small: Annotated[bool, typer.Option(help="A few seconds of work, to see that it runs.")] = False,
) -> None:
    """Measure, compare, and print."""
    entities, days, wanted, rounds = (200, 50, 1_000, 2) if small else (10_000, 100, 100_000, 7)
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, rows = _source(entities, days), _entity_rows(entities, days, wanted)
        source.to_parquet(folder / "source.parquet")
        rows.to_parquet(folder / "entity_rows.parquet")
        clean = FeatureStore(folder / "clean")
        clean.write_offline_features(GROUP, source)
        rewritten = FeatureStore(folder / "rewritten")
        for part in (source, source.iloc[::10]):
            rewritten.write_offline_features(GROUP, part)
        promised = (None, None) if small else (AT_MOST_RAW, TIMES_FASTER_THAN_FEAST)
        work = f"{len(source):,} rows x {len(FEATURES)}, {len(rows):,} entity rows"
        comparisons = [
            _against_raw(clean, rows, rounds, f"{work}, Arrow", at_most=promised[0]),
            _against_raw(rewritten, rows, rounds, f"{work}, a tenth written twice", newest=NEWEST),
            _against_feast(clean, rows, rounds, f"{work}, pandas", folder, times_faster=promised[1]),
        ]
        code = report(console, "Point-in-time join", comparisons, packages=["duckdb", "pyarrow", "pandas"])
    raise typer.Exit(code)


def _source(entities: int, days: int) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    seconds = np.repeat(np.arange(days), entities) * DAY_SECONDS
    seconds += rng.integers(0, DAY_SECONDS, len(seconds))
    keys = {
        "event_timestamp": FIRST.as_unit("us") + pd.to_timedelta(seconds, unit="s"),
        "entity": np.tile([f"E{number:05}" for number in range(entities)], days),
    }
    return pd.DataFrame(keys | {name: rng.normal(size=len(seconds)) for name in FEATURES})


def _entity_rows(entities: int, days: int, wanted: int) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    seconds = rng.integers(0, days * DAY_SECONDS, wanted)
    return pd.DataFrame(
        {
            "number": np.arange(wanted),
            "entity": [f"E{number:05}" for number in rng.integers(0, entities, wanted)],
            "event_timestamp": FIRST.as_unit("us") + pd.to_timedelta(seconds, unit="s"),
        }
    )


def _against_raw(
    store: FeatureStore,
    rows: pd.DataFrame,
    rounds: int,
    work: str,
    *,
    newest: str = "",
    at_most: float | None = None,
) -> Comparison:
    table = pa.table(rows)
    calls: dict[str, Callable[[], Any]] = {
        "ours": lambda: store.get_training_features(table, [GROUP], ttl=TTL),
        "raw DuckDB ASOF": _raw_join(store, table, newest),
    }
    ours, raw = (_in_order(call().to_pandas()) for call in calls.values())
    pd.testing.assert_frame_equal(ours, raw)
    timings = alternate(calls, rounds=rounds)
    return Comparison(work, timings["ours"], timings["raw DuckDB ASOF"], at_most=at_most)


def _raw_join(store: FeatureStore, table: pa.Table, newest: str) -> Callable[[], pa.Table]:
    files = [str(path) for path in sorted((store.root / "offline" / GROUP).rglob("*.parquet"))]
    connection = duckdb.connect(":memory:")
    connection.register("entity_rows", table)
    names = ", ".join(f"source.{name}" for name in FEATURES)
    query = f"""
        SELECT entity_rows.*, {names}
        FROM entity_rows ASOF LEFT JOIN (SELECT * FROM read_parquet({files}) {newest}) AS source
          ON entity_rows.entity = source.entity AND entity_rows.event_timestamp >= source.event_timestamp
    """
    return lambda: connection.sql(query).to_arrow_table()


def _against_feast(
    store: FeatureStore,
    rows: pd.DataFrame,
    rounds: int,
    work: str,
    folder: Path,
    *,
    times_faster: float | None,
) -> Comparison:
    """In turns: Feast is a process of its own each time, which imports and warms up before it is timed."""
    feast = rival_python("feast-duckdb", FEAST)
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(2):
        answer = run_rival(feast, FEAST_SCRIPT, [str(folder), str(rounds)])
        theirs += answer["seconds"]
        joined = store.get_training_features(rows, [GROUP], ttl=TTL)
        if number == 0:
            _check_equal(joined, pd.read_parquet(folder / "feast.parquet"))
        timed = alternate(
            {"ours": lambda: store.get_training_features(rows, [GROUP], ttl=TTL)}, rounds=rounds
        )
        ours += timed["ours"].seconds
    return Comparison(
        work,
        Timing("ours", tuple(ours)),
        Timing("Feast 0.67, DuckDB", tuple(theirs)),
        times_faster=times_faster,
    )


def _check_equal(ours: pd.DataFrame, feast: pd.DataFrame) -> None:
    feast["event_timestamp"] = feast["event_timestamp"].dt.tz_localize(None)
    pd.testing.assert_frame_equal(ours, _in_order(feast)[list(ours)], check_dtype=False)


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values("number", ignore_index=True)


if __name__ == "__main__":
    typer.run(main)
