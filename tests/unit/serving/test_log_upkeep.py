"""Old predictions and labels go, and what a server still needs stays."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from mlinfra.features import FeatureStore
from mlinfra.serving.log_upkeep import EVERY_SECONDS, LogUpkeep

GROUPS = ["predictions_m", "labels_m"]


def write(store: FeatureStore, group: str, *days: int) -> None:
    times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in days]
    rows = pd.DataFrame({"prediction_id": [f"p{day}" for day in days], "event_timestamp": times, "x": 1.0})
    store.write_offline_features(group, rows, entity_column="prediction_id", partition_by="day")


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
    (record,) = caplog.records
    assert "old rows of labels_m are neither dropped nor merged" in record.getMessage()


def test_it_begins_at_once_and_again_after_a_while(tmp_path: Path) -> None:
    seconds = 0.0
    asked: list[datetime] = []

    def now() -> datetime:
        asked.append(datetime.now(UTC))
        return asked[-1]

    upkeep = LogUpkeep(FeatureStore(tmp_path), GROUPS, days=30, clock=lambda: seconds, now=now)
    for expected in (1, 1, 2, 2):
        upkeep.tick()
        upkeep.join()
        assert len(asked) == expected
        seconds += EVERY_SECONDS / 2
