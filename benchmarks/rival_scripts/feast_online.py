"""Feast's SQLite online store on the same data; runs in an environment of its own, without mlinfra.

Usage: python feast_online.py FOLDER ACTION [CALLS]

ACTION ``write`` makes the repository in FOLDER and writes ``values.npy`` there to it; ``read`` times CALLS
reads of each set of keys in ``reads.json``. The last line of output is JSON.
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.repo_config import RegistryConfig
from feast.types import Float64

VIEW = "prices"
WARM_UP_CALLS = 20


def store_in(folder: Path) -> FeatureStore:
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=RegistryConfig(path=str(folder / "registry.db")),
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
    )
    return FeatureStore(config=config)


def write(folder: Path) -> dict[str, float]:
    values = np.load(folder / "values.npy")
    names = [f"f{number}" for number in range(values.shape[1])]
    entity = Entity(name="symbol", join_keys=["symbol"], value_type=ValueType.STRING)
    frame = pd.DataFrame(values, columns=names)
    frame["symbol"] = [f"E{number}" for number in range(len(values))]
    frame["event_timestamp"] = datetime.now(UTC)
    frame.iloc[:10].to_parquet(folder / "source.parquet")
    view = FeatureView(
        name=VIEW,
        entities=[entity],
        ttl=timedelta(days=1),
        schema=[Field(name=name, dtype=Float64) for name in names],
        source=FileSource(path=str(folder / "source.parquet"), timestamp_field="event_timestamp"),
    )
    store = store_in(folder)
    store.apply([entity, view])
    started = time.perf_counter()
    store.write_to_online_store(VIEW, frame)
    return {"seconds": time.perf_counter() - started}


def read(folder: Path, calls: int) -> dict[str, object]:
    store = store_in(folder)
    reads = json.loads((folder / "reads.json").read_text())
    features = [f"{VIEW}:{name}" for name in reads["features"]]
    seconds: dict[str, list[float]] = {}
    answers: dict[str, list[list[float]]] = {}
    for name, keys in reads["keys"].items():
        rows = [{"symbol": key} for key in keys]

        def call(rows: list[dict[str, str]] = rows) -> dict[str, list[float]]:
            return store.get_online_features(features=features, entity_rows=rows).to_dict()

        answer = call()
        answers[name] = [[answer[feature][row] for feature in reads["features"]] for row in range(len(keys))]
        for _ in range(WARM_UP_CALLS):
            call()
        seconds[name] = []
        for _ in range(max(20, calls // len(keys))):
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return {"seconds": seconds, "answers": answers}


if __name__ == "__main__":
    place, action = Path(sys.argv[1]), sys.argv[2]
    print(json.dumps(write(place) if action == "write" else read(place, int(sys.argv[3]))))
