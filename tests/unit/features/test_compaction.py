"""Compaction and vacuum: readers notice nothing, snapshots keep their files, no write is lost."""

import os
import time
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlinfra.features import (
    CorruptFeatures,
    FeatureStore,
    FeatureStoreUnavailable,
    InvalidDateRange,
    UnknownFeatureGroup,
    commit_log,
)
from mlinfra.features import offline as offline_module
from mlinfra.features.commit_log import CommitLog
from mlinfra.features.commits import Commit, CommitOutline, Replacement
from mlinfra.features.compaction import merged
from mlinfra.features.offline import OfflineStore

NOW = timedelta(0)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "feature_store")


def rows(start: str, days: int, value: float, created: str | None = None) -> pd.DataFrame:
    times = pd.date_range(start, periods=days, unit="us")
    frame = pd.DataFrame({"event_timestamp": times, "symbol": "A", "x": np.full(days, float(value))})
    return frame if created is None else frame.assign(created_timestamp=pd.Timestamp(created, tz="UTC"))


def written_often(store: FeatureStore, times: int = 4) -> pd.DataFrame:
    for number in range(times):
        store.write_offline_features("g", rows(f"2024-01-0{number + 1}", 30, number), partition_by="month")
    return store.read_offline_features("g")


def data_files(store: FeatureStore) -> list[Path]:
    return sorted((store.root / "offline" / "g").rglob("*.parquet"))


def age(path: Path, by: timedelta) -> None:
    then = time.time() - by.total_seconds()
    os.utime(path, (then, then))


def test_readers_get_the_same_rows_out_of_fewer_files(store: FeatureStore) -> None:
    before = written_often(store)
    report = store.compact_offline_features("g")
    assert (report.partitions, report.files_before, report.files_after) == (2, 6, 2)
    assert report.rows_before == report.rows_after == 120
    pd.testing.assert_frame_equal(store.read_offline_features("g"), before)
    again = store.compact_offline_features("g")
    assert (again.partitions, again.files_before) == (0, 0)


def test_a_reader_in_flight_reads_on_after_a_compaction(store: FeatureStore) -> None:
    before = written_often(store)
    files = OfflineStore(store.storage.at("offline")).files_of("g")
    store.compact_offline_features("g")
    store.vacuum_offline_features("g")
    assert files.read(["event_timestamp", "symbol", "x"]).to_pandas().equals(before)


def test_a_reader_whose_files_are_vacuumed_begins_again(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written_often(store)
    offline = OfflineStore(store.storage.at("offline"))
    stale = [offline.files_of("g")]
    store.compact_offline_features("g")
    store.vacuum_offline_features("g", older_than=NOW)
    files_of = offline.files_of
    monkeypatch.setattr(offline, "files_of", lambda name: stale.pop() if stale else files_of(name))
    pd.testing.assert_frame_equal(offline.read("g", start=None, end=None, columns=None), before)
    assert not stale


def test_vacuum_deletes_replaced_files_after_their_grace(store: FeatureStore) -> None:
    before = written_often(store)
    old = data_files(store)
    store.compact_offline_features("g")
    assert store.vacuum_offline_features("g").files == ()
    told = store.vacuum_offline_features("g", older_than=NOW, dry_run=True)
    assert len(told.files) == 6
    assert all(file.exists() for file in old)
    done = store.vacuum_offline_features("g", older_than=NOW)
    assert done == told
    assert not any(file.exists() for file in old)
    pd.testing.assert_frame_equal(store.read_offline_features("g"), before)


def test_vacuum_never_deletes_what_a_snapshot_names(store: FeatureStore) -> None:
    before = written_often(store)
    snapshot = store.create_snapshot("g", "mine")
    store.compact_offline_features("g")
    report = store.vacuum_offline_features("g", older_than=NOW)
    assert (report.files, report.protected) == ((), 6)
    pd.testing.assert_frame_equal(store.read_snapshot(snapshot), before)
    store.delete_snapshot("mine")
    assert len(store.vacuum_offline_features("g", older_than=NOW).files) == 6


def test_vacuum_stops_where_a_manifest_cannot_be_read(store: FeatureStore) -> None:
    written_often(store)
    store.create_snapshot("g", "mine")
    [manifest] = (store.root / "metadata" / "snapshots").glob("*.json")
    manifest.write_text("{")
    store.compact_offline_features("g")
    with pytest.raises(CorruptFeatures, match="is not the manifest of a snapshot"):
        store.vacuum_offline_features("g", older_than=NOW)
    assert len(data_files(store)) == 8


def test_vacuum_leaves_alone_what_the_caller_protects(store: FeatureStore) -> None:
    written_often(store)
    file = data_files(store)[0].relative_to(store.root / "offline" / "g").as_posix()
    store.compact_offline_features("g")
    report = store.vacuum_offline_features("g", older_than=NOW, protected=lambda group: [file])
    assert report.protected == 1
    assert file not in report.files


def test_vacuum_leaves_unfinished_writes_alone_for_a_day(store: FeatureStore) -> None:
    written_often(store)
    [some, *_] = data_files(store)
    unfinished = some.with_name("0123.parquet")
    unfinished.write_bytes(some.read_bytes())
    assert store.vacuum_offline_features("g", older_than=NOW).files == ()
    age(unfinished, timedelta(days=1, minutes=1))
    assert store.vacuum_offline_features("g", older_than=NOW).files == ("date=2024-01/0123.parquet",)


def test_vacuum_deletes_commits_that_a_checkpoint_stands_for(store: FeatureStore) -> None:
    for number in range(66):
        store.write_offline_features("g", rows("2024-01-01", 1, number))
    before = store.read_offline_features("g")
    assert store.vacuum_offline_features("g").commits == 0
    assert store.vacuum_offline_features("g", older_than=NOW).commits == 63
    assert len(list((store.root / "offline" / "g" / "_commits").iterdir())) == 3
    pd.testing.assert_frame_equal(store.read_offline_features("g"), before)
    store.write_offline_features("g", rows("2024-01-02", 1, 1.0))
    assert len(store.read_offline_features("g")) == 2


def test_a_vacuum_has_few_commits_in_memory_at_a_time(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_log, "CHECKPOINT_INTERVAL", 4)
    for number in range(30):
        store.write_offline_features("g", rows("2024-01-01", 1, number))
    read = CommitLog._read
    alive: list[weakref.ref[Commit | CommitOutline]] = []
    most: list[int] = []

    def counted(log: CommitLog, name: str, kind: type[Any]) -> Any:
        commit = read(log, name, kind)
        alive.append(weakref.ref(commit))
        most.append(sum(each() is not None for each in alive))
        return commit

    monkeypatch.setattr(CommitLog, "_read", counted)
    assert store.vacuum_offline_features("g", older_than=NOW).commits == 27
    assert len(alive) > 30
    assert max(most) <= 2 * commit_log.READERS


def test_what_was_known_at_an_earlier_time_outlives_a_compaction(store: FeatureStore) -> None:
    for month, value in ((2, 1.0), (3, 2.0), (4, 3.0)):
        store.write_offline_features("g", rows("2024-01-01", 1, value, f"2024-0{month}-01"))
    store.compact_offline_features("g")
    wanted = pd.DataFrame({"event_timestamp": pd.to_datetime(["2024-01-02"]), "symbol": ["A"]})

    def known_at(moment: str) -> list[float]:
        return store.get_training_features(wanted, ["g:x"], known_at=moment)["x"].tolist()

    assert [known_at(moment) for moment in ("2024-02-15", "2024-03-15", "2024-04-15")] == [[1], [2], [3]]
    report = store.compact_offline_features("g", forget_before="2024-03-20")
    assert (report.rows_before, report.rows_after) == (3, 2)
    assert [known_at(moment) for moment in ("2024-03-21", "2024-04-15")] == [[2], [3]]
    with pytest.raises(InvalidDateRange, match="known of feature group 'g' before 2024-03-21T00:00:00"):
        known_at("2024-03-15")
    assert store.read_offline_features("g")["x"].tolist() == [3.0]


def test_of_rows_that_nothing_tells_apart_one_is_kept(store: FeatureStore) -> None:
    for value in (1.0, 2.0, 3.0):
        store.write_offline_features("g", rows("2024-01-01", 2, value, "2024-02-01"))
    assert store.compact_offline_features("g").rows_after == 2
    assert store.read_offline_features("g")["x"].tolist() == [3.0, 3.0]


def test_a_row_written_after_a_compaction_counts_before_one_in_it(store: FeatureStore) -> None:
    for value in (1.0, 2.0):
        store.write_offline_features("g", rows("2024-01-01", 2, value, "2024-02-01"))
    store.compact_offline_features("g")
    store.write_offline_features("g", rows("2024-01-01", 1, 9.0, "2024-02-01"))
    assert store.read_offline_features("g")["x"].tolist() == [9.0, 2.0]


def test_a_damaged_file_is_told_and_nothing_is_changed(store: FeatureStore) -> None:
    written_often(store)
    before = data_files(store)
    before[-1].write_bytes(b"\0" * before[-1].stat().st_size)
    with pytest.raises(CorruptFeatures, match=before[-1].name):
        store.compact_offline_features("g")
    assert data_files(store) == before


def test_a_compaction_that_ends_early_has_committed_what_it_merged(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline_module, "PARTS_A_COMMIT", 2)
    for value in (1.0, 2.0):
        store.write_offline_features("g", rows("2024-01-01", 7, value), partition_by="day")
    before = store.read_offline_features("g")
    calls: list[int] = []

    def killed(*args: Any, **named: Any) -> Any:
        calls.append(len(args[2]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return merged(*args, **named)

    monkeypatch.setattr(offline_module, "merged", killed)
    with pytest.raises(KeyboardInterrupt):
        store.compact_offline_features("g")
    assert store.offline_files_since("g", None)[0].rows == 14
    assert len(store.offline_files_since("g", None)[0].files) == 4 + 3 * 2
    report = store.compact_offline_features("g")
    assert (report.partitions, report.files_before, report.files_after) == (3, 6, 3)
    assert (report.rows_before, report.rows_after) == (6, 6)
    assert calls == [2, 2, 2, 2, 1]
    pd.testing.assert_frame_equal(store.read_offline_features("g"), before)


def test_a_merge_that_took_so_long_that_its_files_may_be_gone_is_not_committed(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written_often(store)
    files = data_files(store)
    monkeypatch.setattr(offline_module, "LONGEST_WRITE_SECONDS", -1.0)
    with pytest.raises(FeatureStoreUnavailable, match="took so long that a vacuum may have removed some"):
        store.compact_offline_features("g")
    assert data_files(store) == files
    pd.testing.assert_frame_equal(store.read_offline_features("g"), before)


def test_of_two_compactions_at_once_one_counts(store: FeatureStore) -> None:
    written_often(store)
    offline = store.storage.at("offline")
    first = OfflineStore(offline).files_of("g").files
    store.compact_offline_features("g")
    stale = Replacement(first[0], tuple(file.path for file in first[:2]))
    assert CommitLog(offline, "g").replace([stale], history_since=None, now=datetime.now(UTC)) == []


def test_increments_after_a_compaction_miss_nothing(store: FeatureStore) -> None:
    offline = OfflineStore(store.storage.at("offline"))
    store.write_offline_features("g", rows("2024-01-01", 2, 1.0), partition_by="month")
    _, mark = offline.files_since("g", None)
    store.write_offline_features("g", rows("2024-01-03", 2, 2.0))
    store.compact_offline_features("g")
    files, mark = offline.files_since("g", mark)
    assert files.rows == 2
    files, _ = offline.files_since("g", mark)
    assert files.rows == 0


def test_a_groups_definition_is_told_by_its_newest_commit_alone(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_often(store)
    first, *_, last = sorted((store.root / "offline" / "g" / "_commits").glob("*.json"))
    group = store.get_feature_group("g")
    content = first.read_bytes()
    first.write_text("{")
    assert store.get_feature_group("g") == group
    first.write_bytes(content)
    # As between the listing and the reading of a vacuum's commits.
    names, gone = CommitLog.names, "9" * 20 + ".json"
    listed = iter([[last.name, gone]])
    monkeypatch.setattr(CommitLog, "names", lambda log: next(listed, None) or names(log))
    assert store.get_feature_group("g") == group


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda store: store.compact_offline_features("h"), UnknownFeatureGroup, "no feature group 'h'"),
        (lambda store: store.vacuum_offline_features("h"), UnknownFeatureGroup, "no feature group 'h'"),
        (
            lambda store: store.compact_offline_features("g", forget_before="soon"),
            InvalidDateRange,
            "forget_before 'soon' is no date",
        ),
        (
            lambda store: store.vacuum_offline_features("g", older_than=timedelta(days=-1)),
            InvalidDateRange,
            "give a time that is not negative",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    store: FeatureStore, call: Any, error: type[Exception], message: str
) -> None:
    written_often(store, 1)
    with pytest.raises(error, match=message):
        call(store)
