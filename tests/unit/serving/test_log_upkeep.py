"""Old predictions and labels go, and what a server still needs stays."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.features import FeatureStore, PartitionBy
from mlinfra.features.vacuum import VacuumReport
from mlinfra.serving import log_upkeep
from mlinfra.serving.log_upkeep import (
    EVERY_SECONDS,
    FEW_FILES,
    FIRST_SECONDS,
    MAX_ROWS,
    MAX_VALUES,
    MIN_ROWS,
    LogUpkeep,
    most_rows,
)
from mlinfra.serving.metrics import ServingMetrics
from mlinfra.serving.observing import observing_of
from mlinfra.serving.settings import ServingSettings

GROUPS = ["predictions_m", "labels_m"]


def write(store: FeatureStore, group: str, *days: int, partition_by: PartitionBy = "day") -> None:
    times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in days]
    rows = pd.DataFrame({"prediction_id": [f"p{day}" for day in days], "event_timestamp": times, "x": 1.0})
    store.write_offline_features(group, rows, entity_column="prediction_id", partition_by=partition_by)


def test_rows_go_once_they_are_old_and_were_written_long_ago(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    for group in GROUPS:
        write(store, group, 0, 1, 20_000)
    now = datetime.now(UTC)
    LogUpkeep(store, GROUPS, days=30, now=lambda: now).run()
    assert [len(store.read_offline_features(group)) for group in GROUPS] == [3, 3]
    LogUpkeep(store, GROUPS, days=30, now=lambda: now + timedelta(days=31)).run()
    for group in GROUPS:
        assert store.read_offline_features(group)["prediction_id"].tolist() == ["p20000"]


def test_a_group_that_is_not_there_is_passed_over_and_a_damaged_one_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = FeatureStore(tmp_path)
    write(store, "labels_m", 0)
    (commit,) = (tmp_path / "offline" / "labels_m" / "_commits").glob("*.json")
    commit.write_bytes(b"no JSON")
    LogUpkeep(store, GROUPS, days=30).run()
    told = [record.getMessage() for record in caplog.records]
    for number, what in enumerate(("deleted", "dropped", "merged")):
        assert told[number].startswith(f"old files of labels_m are not {what}: ")


def test_it_begins_after_a_while_and_again_after_another(tmp_path: Path) -> None:
    seconds = 0.0
    asked: list[datetime] = []

    def now() -> datetime:
        asked.append(datetime.now(UTC))
        return asked[-1]

    upkeep = LogUpkeep(
        FeatureStore(tmp_path),
        GROUPS,
        days=30,
        clock=lambda: seconds,
        now=now,
        first=lambda earliest, _: earliest,
    )
    steps = [(0.0, 0), (FIRST_SECONDS, 1), (EVERY_SECONDS / 2, 1), (EVERY_SECONDS / 2, 2)]
    for later, expected in steps:
        seconds += later
        upkeep.tick()
        upkeep.join()
        assert len(asked) == expected


def test_replicas_that_start_together_begin_one_after_the_other(tmp_path: Path) -> None:
    begun: list[float] = []
    seconds = 0.0

    def now() -> datetime:
        begun.append(seconds)
        return datetime.now(UTC)

    store = FeatureStore(tmp_path)
    replicas = [LogUpkeep(store, [], days=None, clock=lambda: seconds, now=now) for _ in range(5)]
    while len(begun) < len(replicas):
        assert seconds <= EVERY_SECONDS
        for each in replicas:
            each.tick()
            each.join()
        seconds += 1
    assert begun[0] >= FIRST_SECONDS
    assert len(set(begun)) > 1


@given(st.integers(1, 100_000))
def test_a_merged_file_is_bounded_in_rows_and_in_values(columns: int) -> None:
    rows = most_rows(columns)
    assert MIN_ROWS <= rows <= MAX_ROWS
    assert rows == MIN_ROWS or rows * columns <= MAX_VALUES
    assert rows >= most_rows(columns + 1)


def test_files_of_many_columns_are_merged_to_files_of_fewer_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_upkeep, "MIN_ROWS", 1)
    monkeypatch.setattr(log_upkeep, "MAX_VALUES", 30)
    store = FeatureStore(tmp_path)
    for day in range(20):
        write(store, "labels_m", day, partition_by="year")
    LogUpkeep(store, GROUPS, days=None, now=lambda: datetime.now(UTC) + timedelta(days=2)).run()
    # Of three columns each.
    assert [file.rows for file in store.offline_files_since("labels_m", None)[0].files] == [10, 10]


def test_what_one_run_merged_the_next_one_adds_to(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    start = datetime.now(UTC) - timedelta(days=1)
    seen: set[Path] = set()

    def written(when: datetime) -> None:
        for path in set(tmp_path.rglob("*.parquet")) - seen:
            seen.add(path)
            os.utime(path, (when.timestamp(), when.timestamp()))

    for run in range(4):
        now = start + run * timedelta(seconds=EVERY_SECONDS)
        for _ in range(FEW_FILES):
            write(store, "labels_m", len(seen), partition_by="year")
            written(now - timedelta(hours=1))
        LogUpkeep(store, GROUPS, days=None, now=lambda now=now: now).run()
        written(now + timedelta(minutes=1))
        assert len(store.offline_files_since("labels_m", None)[0].files) == 1


def test_files_that_cannot_be_merged_keep_none_from_being_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    for day in range(FEW_FILES):
        write(store, "labels_m", day, partition_by="year")
    store.compact_offline_features("labels_m")
    (live,) = store.offline_files_since("labels_m", None)[0].files
    for day in range(FEW_FILES):
        write(store, "labels_m", 100 + day, partition_by="year")
    next(tmp_path.rglob(Path(live.path).name)).write_bytes(bytes(live.bytes))
    monkeypatch.setattr(log_upkeep, "GRACE", timedelta(0))
    LogUpkeep(store, GROUPS, days=None, now=lambda: datetime.now(UTC) + timedelta(days=2)).run()
    assert len(list(tmp_path.rglob("*.parquet"))) == 1 + FEW_FILES
    (record,) = caplog.records
    assert record.getMessage().startswith("old files of labels_m are not merged: ")


def test_an_unexpected_fault_is_told_and_the_next_group_is_kept_in_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(FeatureStore):
        def vacuum_offline_features(self, feature_group: str, **named: Any) -> VacuumReport:
            if feature_group == GROUPS[0]:
                raise RuntimeError("a fault")
            return super().vacuum_offline_features(feature_group, **named)

    store = Faulty(tmp_path)
    for group in GROUPS:
        for day in range(FEW_FILES):
            write(store, group, day, partition_by="year")
    LogUpkeep(store, GROUPS, days=None, now=lambda: datetime.now(UTC) + timedelta(days=2)).run()
    assert [len(store.offline_files_since(group, None)[0].files) for group in GROUPS] == [1, 1]
    (record,) = caplog.records
    assert record.exc_info
    assert record.getMessage() == "old files of predictions_m are not deleted"


def test_the_log_of_a_server_is_kept_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_upkeep, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(log_upkeep, "EVERY_SECONDS", 0.0)
    settings = ServingSettings(model="m", prediction_log_uri=str(tmp_path), log_days=1 / 86_400)
    store = FeatureStore(tmp_path)
    write(store, "labels_m", 0, 20_000)
    observing = observing_of(settings, "m", ServingMetrics(), lambda: None)
    try:
        deadline = time.monotonic() + 30
        while len(store.read_offline_features("labels_m")) != 1:
            assert time.monotonic() < deadline, "old labels were never dropped"
            time.sleep(0.05)
    finally:
        observing.observer.close()
