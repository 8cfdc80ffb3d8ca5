"""Which rows a training reads, and what its snapshot says of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from mlinfra.features import FeatureStore, Snapshot, UnknownSnapshot
from mlinfra.resources.built_in_training import TrainingData
from mlinfra.tracking.tracker import MlflowTracker
from mlinfra.training.data import SNAPSHOT_FILE, read_rows, read_rows_of_run
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


def test_the_last_days_move_with_the_rows(store: FeatureStore) -> None:
    newest = read_rows(store, data(last_days=7))
    assert str(newest.frame["event_timestamp"].min()) == "2024-01-23 00:00:00"
    assert len(newest.frame) == 8
    earlier = read_rows(store, data(last_days=2, end_date="2024-01-10"))
    assert [each.day for each in earlier.frame["event_timestamp"]] == [8, 9, 10]
    assert len(read_rows(store, data(last_days=1000)).frame) == 30
    later = pd.DataFrame(
        {"event_timestamp": [pd.Timestamp("2024-02-10")], "symbol": "A", "rsi": 1.0, "gap": 1.0, "up": 0}
    )
    store.write_offline_features("g", later)
    assert len(read_rows(store, data(last_days=7)).frame) == 1
    with pytest.raises(EmptyDateRangeError, match="It has 2024-01-01 to 2024-02-10"):
        read_rows(store, data(last_days=7, end_date="2023-12-31"))


def test_of_names_that_are_unknown_every_column_is_read(store: FeatureStore) -> None:
    assert "gap" in read_rows(store, data(features=["rsy"])).frame
    store.create_snapshot("g", "all")
    assert "gap" in read_rows(store, data(features=["rsy"], snapshot="all")).frame


def test_no_rows_and_no_snapshot_are_told(store: FeatureStore) -> None:
    with pytest.raises(EmptyDateRangeError, match="It has 2024-01-01 to 2024-01-30"):
        read_rows(store, data(start_date="2025-01-01"))
    with pytest.raises(UnknownSnapshot, match="there are none yet"):
        read_rows(store, data(snapshot="lost"))


@dataclass
class Attempt:
    """An attempt of a run, and the artifacts that earlier ones left."""

    attempt: int = 2
    artifacts: dict[str, bytes] = field(default_factory=dict)
    run_id: str = "r1"

    def read_artifact(self, file: str) -> bytes | None:
        return self.artifacts.get(file)

    def rows(self, store: FeatureStore, asked: TrainingData) -> tuple[pd.DataFrame, Snapshot, list[str]]:
        notices: list[str] = []
        rows = read_rows_of_run(store, asked, cast("MlflowTracker", self), on_notice=notices.append)
        return rows.frame, rows.snapshot, notices


def left_by(snapshot: Snapshot) -> dict[str, bytes]:
    return {SNAPSHOT_FILE: snapshot.to_json().encode()}


def corrected(store: FeatureStore) -> None:
    store.write_offline_features("g", store.read_offline_features("g").assign(rsi=0.0))


def test_a_later_attempt_reads_the_rows_of_the_first(store: FeatureStore) -> None:
    # The store does not keep the manifest: the run's own copy suffices.
    first = read_rows(store, data(features=["rsi"]))
    corrected(store)
    frame, snapshot, notices = Attempt(2, left_by(first.snapshot)).rows(store, data(features=["rsi"]))
    pd.testing.assert_frame_equal(frame, first.frame)
    assert snapshot == first.snapshot
    assert notices == [f"the rows are those of the earlier attempts, {first.snapshot.id}"]


@pytest.mark.parametrize("attempt", [1, 2])
def test_an_attempt_without_an_earlier_one_that_read_rows_reads_those_there_are(
    store: FeatureStore, attempt: int
) -> None:
    frame, _, notices = Attempt(attempt).rows(store, data())
    assert len(frame) == 30
    assert notices == []


def test_rows_that_are_gone_or_damaged_are_told_and_those_there_are_read(store: FeatureStore) -> None:
    first = read_rows(store, data()).snapshot
    corrected(store)
    store.compact_offline_features("g")
    for path in (file.path for file in first.of_group("g").files):
        (store.root / "offline" / "g" / path).unlink()
    frame, snapshot, (notice,) = Attempt(2, left_by(first)).rows(store, data())
    assert (frame["rsi"] == 0.0).all()
    assert snapshot.id != first.id
    assert notice.startswith("the rows of the earlier attempts cannot be read any more")
    assert "is gone" in notice

    _, _, (notice,) = Attempt(2, {SNAPSHOT_FILE: b"{}"}).rows(store, data())
    assert "feature_snapshot.json of run r1 is not the manifest of a snapshot" in notice


def test_a_snapshot_that_the_spec_names_is_never_replaced_by_other_rows(store: FeatureStore) -> None:
    snapshot = store.create_snapshot("g", "lost")
    store.delete_snapshot("lost")
    with pytest.raises(UnknownSnapshot):
        Attempt(2, {SNAPSHOT_FILE: b"{}"}).rows(store, data(snapshot="lost"))
    frame, _, _ = Attempt(2, left_by(snapshot)).rows(store, data(snapshot="lost"))
    assert len(frame) == 30
