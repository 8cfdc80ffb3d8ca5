"""Rows of long ago go in whole files, and nothing else changes for whoever reads."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.features import FeatureStore, PartitionBy
from mlinfra.features.commit_log import CommitLog

START = datetime(2026, 1, 28, tzinfo=UTC)
NEVER = timedelta(0)
Row = tuple[int, int]
"""Entity, and days after the start."""


def write(store: FeatureStore, rows: list[Row], value: int, partition_by: PartitionBy = "day") -> None:
    frame = pd.DataFrame(
        {
            "entity": [f"e{entity}" for entity, _ in rows],
            "event_timestamp": [START + timedelta(days=day) for _, day in rows],
            "value": value,
        }
    )
    there = "g" in store.list_feature_groups()
    store.write_offline_features(
        "g", frame, entity_column="entity", partition_by=None if there else partition_by
    )


def read(store: FeatureStore) -> dict[tuple[str, datetime], int]:
    rows = store.read_offline_features("g")
    keys = zip(rows["entity"], rows["event_timestamp"], strict=True)
    return dict(zip(keys, rows["value"].tolist(), strict=True))


ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 7)), min_size=1, max_size=5, unique=True)


@settings(max_examples=25)
@given(
    writes=st.lists(ROWS, min_size=1, max_size=5),
    partition_by=st.sampled_from(["day", "month", "year"]),
    day=st.integers(0, 9),
)
def test_no_row_that_stays_changes_and_none_comes_back(
    tmp_path_factory: pytest.TempPathFactory, writes: list[list[Row]], partition_by: PartitionBy, day: int
) -> None:
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    for value, rows in enumerate(writes):
        write(store, rows, value, partition_by)
    before, border = read(store), START + timedelta(days=day)
    held, _ = store.offline_files_since("g", None)
    planned = store.drop_offline_features("g", before=border, dry_run=True)
    assert read(store) == before
    report = store.drop_offline_features("g", before=border)
    assert report == planned
    after = read(store)
    assert after.items() <= before.items()
    assert {key for key in before if key[1] >= border} <= after.keys()
    if partition_by == "day":
        assert all(key[1] >= border for key in after)
    # Who holds the files still reads them, until a vacuum.
    assert held.rows == sum(len(batch) for _, batch in held.batches(["entity"]))
    deleted = store.vacuum_offline_features("g", older_than=NEVER)
    assert (len(deleted.files), deleted.bytes) == (report.files, report.bytes)
    assert read(store) == after
    assert store.drop_offline_features("g", before=border).files == 0


def test_a_follower_goes_on_and_a_snapshot_keeps_its_rows(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    write(store, [(0, 0), (0, 1)], 1)
    _, mark = store.offline_files_since("g", None)
    store.create_snapshot("g", "kept")
    assert store.drop_offline_features("g", before="2026-01-29").rows == 1
    write(store, [(0, 2)], 2)
    new, _ = store.offline_files_since("g", mark)
    assert new.rows == 1
    assert store.vacuum_offline_features("g", older_than=NEVER).protected == 1
    assert len(store.read_snapshot("kept")) == 2
    assert len(read(store)) == 2


def test_what_was_written_lately_stays(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    write(store, [(0, 0)], 1)
    lately = datetime.now(UTC) - timedelta(hours=1)
    assert store.drop_offline_features("g", before="2027-01-01", written_before=lately).files == 0
    later = datetime.now(UTC) + timedelta(hours=1)
    assert store.drop_offline_features("g", before="2027-01-01", written_before=later).files == 1
    assert read(store) == {}
    write(store, [(0, 3)], 2)
    assert len(read(store)) == 1


def test_what_is_written_while_a_drop_looks_around_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    write(store, [(0, 0)], 1)
    read_ahead = CommitLog._read_ahead

    def busy(log: CommitLog) -> None:
        read_ahead(log)
        write(store, [(1, 1)], 2)

    monkeypatch.setattr(CommitLog, "_read_ahead", busy)
    later = datetime.now(UTC) + timedelta(hours=1)
    assert store.drop_offline_features("g", before="2027-01-01", written_before=later).files == 1
    assert list(read(store).values()) == [2]


def test_a_drop_survives_checkpoints(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    for number in range(70):
        write(store, [(number, number % 2)], number)
    store.drop_offline_features("g", before="2026-01-29")
    for number in range(70, 140):
        write(store, [(number, 1)], number)
    store.vacuum_offline_features("g", older_than=NEVER)
    assert len(read(store)) == 35 + 70
