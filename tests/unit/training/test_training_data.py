"""Which rows a training reads, and what its snapshot says of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlinfra.features import FeatureStore, UnknownSnapshot
from mlinfra.resources.built_in_training import TrainingData
from mlinfra.training.data import read_rows
from mlinfra.training.errors import EmptyDateRangeError
from mlinfra.training.rows import RowKeys


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path)
    days = pd.date_range("2024-01-01", periods=30, unit="us")
    numbers = np.arange(30.0)
    frame = pd.DataFrame({"event_timestamp": days, "symbol": "A", "rsi": numbers, "gap": -numbers, "up": 1})
    store.write_offline_features("g", frame)
    return store


def data(**fields: Any) -> TrainingData:
    return TrainingData(feature_group="g", label="up", **fields)


def test_the_snapshot_tells_what_was_read_and_is_not_kept_yet(store: FeatureStore) -> None:
    rows = read_rows(store, data(features=["rsi"], start_date="2024-01-10"), also=["gap", "unknown"])
    assert rows.keys == RowKeys(time="event_timestamp", entity="symbol")
    assert list(rows.frame) == ["event_timestamp", "symbol", "rsi", "up", "gap"]
    assert rows.snapshot.rows == len(rows.frame) == 21
    pd.testing.assert_frame_equal(store.read_snapshot(rows.snapshot), rows.frame)
    assert store.list_snapshots() == []


def test_a_snapshot_gives_its_rows_again(store: FeatureStore) -> None:
    first = read_rows(store, data(features=["rsi"], end_date="2024-01-20"))
    store.publish_snapshot(first.snapshot)
    correction = first.frame.assign(rsi=0.0, gap=0.0)
    store.write_offline_features("g", correction)
    again = read_rows(store, data(features=["rsi"], snapshot=first.snapshot.id), also=["gap"])
    pd.testing.assert_frame_equal(again.frame, first.frame)
    assert again.snapshot == first.snapshot


def test_of_names_that_are_unknown_every_column_is_read(store: FeatureStore) -> None:
    assert "gap" in read_rows(store, data(features=["rsy"])).frame
    store.create_snapshot("g", "all")
    assert "gap" in read_rows(store, data(features=["rsy"], snapshot="all")).frame


def test_no_rows_and_no_snapshot_are_told(store: FeatureStore) -> None:
    with pytest.raises(EmptyDateRangeError, match="It has 2024-01-01 to 2024-01-30"):
        read_rows(store, data(start_date="2025-01-01"))
    with pytest.raises(UnknownSnapshot, match="there are none yet"):
        read_rows(store, data(snapshot="lost"))
