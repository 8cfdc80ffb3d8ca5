"""Feast's point-in-time join with its DuckDB store, run in an environment of its own.

Usage: python feast_point_in_time.py FOLDER ROUNDS

Joins FOLDER/entity_rows.parquet with FOLDER/source.parquet, writes FOLDER/feast.parquet, and prints the
seconds of each round as JSON.
"""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64

TTL = timedelta(days=365)


def main(folder: Path, rounds: int) -> None:
    rows = pd.read_parquet(folder / "entity_rows.parquet")
    rows["event_timestamp"] = rows["event_timestamp"].dt.tz_localize("UTC")
    columns = pd.read_parquet(folder / "source.parquet").columns
    features = [name for name in columns if name not in ("event_timestamp", "entity")]
    store = FeatureStore(
        config=RepoConfig(
            project="benchmark",
            provider="local",
            registry=str(folder / "feast-registry.db"),
            online_store={"type": "sqlite", "path": str(folder / "feast-online.db")},
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
        )
    )
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.STRING)
    view = FeatureView(
        name="prices",
        entities=[entity],
        ttl=TTL,
        schema=[Field(name=name, dtype=Float64) for name in features],
        source=FileSource(path=str(folder / "source.parquet"), timestamp_field="event_timestamp"),
        online=False,
    )
    store.apply([entity, view])
    references = [f"prices:{name}" for name in features]
    seconds = []
    for number in range(-1, rounds):
        started = time.perf_counter()
        joined = store.get_historical_features(rows, references).to_df()
        taken = time.perf_counter() - started
        if number >= 0:
            seconds.append(taken)
    joined.to_parquet(folder / "feast.parquet")
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
