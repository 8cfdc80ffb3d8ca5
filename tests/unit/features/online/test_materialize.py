"""What comes online from the offline store, and how far."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.features import FeatureConflict, FeatureStatus, FeatureStore, UnknownFeatureGroup

DAY = datetime(2024, 3, 1)
ROW = st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.integers(0, 9), st.floats(0, 1))
BATCHES = st.lists(st.tuples(st.lists(ROW, min_size=1, max_size=8), st.booleans()), min_size=1, max_size=6)


def frame(rows: list[tuple[str, int, int, float]]) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "symbol": [row[0] for row in rows],
        "event_timestamp": pd.to_datetime([DAY + timedelta(days=row[1]) for row in rows], utc=True),
        "created_timestamp": pd.to_datetime([DAY + timedelta(days=row[2]) for row in rows], utc=True),
        "x": [row[3] for row in rows],
    }
    return pd.DataFrame(columns)


def online(store: FeatureStore, keys: str) -> list[float | None]:
    answer = store.read_online_features(list(keys), feature_group="g")
    return [
        None if status else value
        for value, status in zip(answer.values[:, 0], answer.status[:, 0], strict=True)
    ]


@given(batches=BATCHES)
@settings(max_examples=25)
def test_after_an_incremental_run_the_newest_of_all_rows_is_online(
    batches: list[tuple[list[tuple[str, int, int, float]], bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    newest: dict[str, tuple[int, int, float]] = {}
    for rows, run in batches:
        store.write_offline_features("g", frame(rows))
        for symbol, event, created, value in rows:
            if symbol not in newest or (event, created) >= newest[symbol][:2]:
                newest[symbol] = (event, created, value)
        if run:
            store.materialize_incremental("g")
            assert online(store, "abcd") == [newest[key][2] if key in newest else None for key in "abcd"]


def test_only_new_commits_are_read_and_late_rows_are_not_lost(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.write_offline_features("g", frame([("a", 5, 5, 0.5), ("b", 1, 1, 0.1)]))
    assert store.materialize_incremental("g") == 2
    assert store.materialize_incremental("g") == 0
    store.write_offline_features("g", frame([("c", 0, 0, 0.9), ("a", 4, 9, 0.4)]))
    assert store.materialize_incremental("g") == 1
    assert online(store, "abc") == [0.5, 0.1, 0.9]


def test_versions_have_watermarks_of_their_own(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.write_offline_features("g", frame([("a", 5, 5, 0.5)]))
    assert store.materialize_incremental("g") == 1
    assert store.materialize_incremental("g", version="2.0") == 1
    assert store.materialize_incremental("g", version="2.0") == 0


def test_a_period_brings_its_newest_rows_and_moves_no_watermark(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.write_offline_features(
        "g", frame([("a", 0, 0, 0.1), ("a", 3, 3, 0.4), ("a", 4, 4, 0.5), ("b", 9, 9, 1)])
    )
    assert store.materialize("g", "2024-03-01", "2024-03-04") == 1
    assert online(store, "ab") == [0.4, None]
    assert store.materialize("g", end_date="2024-03-01") == 0
    assert store.materialize("g", end_date="2024-03-01", force=True) == 1
    assert online(store, "a") == [0.1]
    assert store.materialize("g", "2030-01-01") == 0
    assert store.materialize_incremental("g") == 2
    assert online(store, "ab") == [0.5, 1]


def test_a_group_written_anew_under_its_name_is_materialized_from_its_beginning(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "first", online=tmp_path / "online")
    again = FeatureStore(tmp_path / "second", online=tmp_path / "online")
    store.write_offline_features("g", frame([("a", 1, 1, 0.1)]))
    again.write_offline_features("g", frame([("b", 2, 2, 0.2)]))
    store.materialize_incremental("g")
    assert again.materialize_incremental("g") == 1
    assert online(again, "ab") == [0.1, 0.2]


def test_types_keys_and_added_features_come_along(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    first = pd.DataFrame({"id": [7, 8], "timestamp": [DAY, DAY], "n": [2**60 + 1, 3], "up": [True, False]})
    store.write_offline_features("g", first, entity_column="id")
    store.materialize_incremental("g")
    later = first.iloc[:1].assign(timestamp=DAY + timedelta(days=1), word="new")
    store.write_offline_features("g", later)
    store.materialize_incremental("g")
    read = store.read_online_features([7, 8], feature_group="g")
    assert read.to_pandas()["n"].tolist() == [2**60 + 1, 3]
    assert read.to_pandas()["up"].tolist() == [True, False]
    assert read.to_pandas()["word"].tolist()[0] == "new"
    assert read.status[:, 2].tolist() == [FeatureStatus.PRESENT, FeatureStatus.MISSING]
    assert read.event_timestamps[0] == np.datetime64(DAY + timedelta(days=1))


def test_contradictions_move_nothing(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    with pytest.raises(UnknownFeatureGroup):
        store.materialize_incremental("g")
    store.write_online_features("a", {"x": "text"}, feature_group="g")
    store.write_offline_features("g", frame([("a", 1, 1, 0.1)]))
    with pytest.raises(FeatureConflict, match=r"'x' .*is string"):
        store.materialize_incremental("g")
    assert store.materialize_incremental("g", version="2.0") == 1
