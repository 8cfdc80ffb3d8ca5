"""A vacuum takes short turns: whatever is done between two, none deletes what is needed."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from pyarrow import fs

from mlinfra.features import FeatureStore, FeatureStoreUnavailable, commit_log, object_storage, vacuum
from mlinfra.features.commit_log import CommitLog
from mlinfra.features.local_storage import LocalStorage
from mlinfra.features.object_storage import ObjectStorage
from mlinfra.features.offline import OfflineStore
from mlinfra.features.storage import Entry, StillHeld

AT_ONCE = timedelta(0)
SECONDS_A_REQUEST = 0.4


def write(store: FeatureStore, days: Sequence[int], value: float = 0.0) -> None:
    times = [pd.Timestamp("2024-01-01") + pd.Timedelta(days=day) for day in days]
    rows = pd.DataFrame({"event_timestamp": times, "symbol": "A", "x": float(value)})
    store.write_offline_features("g", rows, partition_by="day")


def merged_twice(store: FeatureStore, days: int) -> None:
    """A group of which two files of each day no longer count."""
    for value in (1.0, 2.0):
        write(store, range(days), value)
    store.compact_offline_features("g")


def data_files(store: FeatureStore) -> set[str]:
    entries = store.storage.at("offline/g").entries(recursive=True)
    return {entry.name for entry in entries if entry.name.endswith(".parquet")}


def live_files(store: FeatureStore) -> set[str]:
    return {file.path for file in OfflineStore(store.storage.at("offline")).files_of("g").files}


@pytest.fixture
def between_turns(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What is done between the turns of a vacuum, each of which deletes one file."""
    waiting: list[Callable[[], object]] = []

    def pause(_: float) -> None:
        if waiting:
            waiting.pop(0)()

    monkeypatch.setattr(vacuum, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(vacuum, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=pause))
    return waiting


def test_a_snapshot_that_is_made_between_two_turns_keeps_its_files(
    tmp_path: Path, between_turns: list[Callable[[], object]]
) -> None:
    store = FeatureStore(tmp_path)
    for value in (1.0, 2.0):
        write(store, range(4), value)
    rows = store.read_offline_features("g", start_date="2024-01-04")
    later = store.describe_snapshot("g", "later", start_date="2024-01-04")
    store.compact_offline_features("g")
    between_turns.append(lambda: store.publish_snapshot(later))
    report = store.vacuum_offline_features("g", older_than=AT_ONCE)
    assert not between_turns
    assert (len(report.files), report.protected) == (6, 2)
    pd.testing.assert_frame_equal(store.read_snapshot("later"), rows)


def test_what_is_protected_is_asked_in_each_turn(
    tmp_path: Path, between_turns: list[Callable[[], object]]
) -> None:
    store = FeatureStore(tmp_path)
    merged_twice(store, 3)
    wanted: set[str] = set()
    between_turns.append(lambda: wanted.update(data_files(store)))
    report = store.vacuum_offline_features("g", older_than=AT_ONCE, protected=lambda _: wanted)
    assert (len(report.files), report.protected) == (1, 5)


def test_files_that_are_replaced_while_a_vacuum_deletes_stay_for_their_readers(
    tmp_path: Path, between_turns: list[Callable[[], object]]
) -> None:
    store = FeatureStore(tmp_path)
    merged_twice(store, 3)
    write(store, range(3), 3.0)
    live = live_files(store)
    between_turns.append(lambda: store.compact_offline_features("g"))
    between_turns.append(lambda: write(store, range(5), 4.0))
    report = store.vacuum_offline_features("g", older_than=AT_ONCE)
    assert not between_turns
    assert len(report.files) == 6
    assert live <= data_files(store)
    assert live_files(store) <= data_files(store)
    assert store.read_offline_features("g")["x"].tolist() == [4.0] * 5


def test_files_that_come_while_a_vacuum_looks_around_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    merged_twice(store, 3)
    read = vacuum._read
    live: set[str] = set()

    def busy(log: CommitLog) -> Any:
        write(store, range(3), 3.0)
        live.update(live_files(store))
        found = read(log)
        store.compact_offline_features("g")
        return found

    monkeypatch.setattr(vacuum, "_read", busy)
    assert len(store.vacuum_offline_features("g", older_than=AT_ONCE).files) == 6
    assert live | live_files(store) <= data_files(store)


def test_a_vacuum_beside_another_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_log, "CHECKPOINT_INTERVAL", 4)
    store = FeatureStore(tmp_path)
    for value in range(9):
        write(store, [0], value)
    outlines = CommitLog.outlines
    others = [lambda: store.vacuum_offline_features("g", older_than=AT_ONCE)]

    def listed_before(log: CommitLog, names: Sequence[str]) -> Any:
        if others:
            assert others.pop()().commits == 7
        return outlines(log, names)

    monkeypatch.setattr(CommitLog, "outlines", listed_before)
    assert store.vacuum_offline_features("g", older_than=AT_ONCE).commits == 0
    assert store.read_offline_features("g")["x"].tolist() == [8.0]


class SlowStorage(ObjectStorage):
    """An object store of whose requests each takes a while."""

    seconds = 0.0
    longest_hold = 0.0

    def read(self, name: str) -> bytes:
        SlowStorage.seconds += SECONDS_A_REQUEST
        return super().read(name)

    def entries(self, name: str = "", *, recursive: bool = False) -> list[Entry]:
        SlowStorage.seconds += SECONDS_A_REQUEST
        return super().entries(name, recursive=recursive)

    def delete(self, name: str) -> None:
        SlowStorage.seconds += SECONDS_A_REQUEST
        super().delete(name)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[StillHeld]:
        with super().exclusive(name) as still_held:
            since = SlowStorage.seconds
            yield still_held
            SlowStorage.longest_hold = max(SlowStorage.longest_hold, SlowStorage.seconds - since)


def test_a_vacuum_of_more_files_than_a_lease_lasts_for_deletes_them_all(
    objects: fs.FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(SlowStorage(objects, uuid.uuid4().hex))
    merged_twice(store, 60)
    for name in ("one", "two"):
        store.create_snapshot("g", name)
    clock = SimpleNamespace(monotonic=lambda: SlowStorage.seconds, sleep=lambda _: None)
    monkeypatch.setattr(object_storage, "time", clock)
    monkeypatch.setattr(vacuum, "time", clock)
    monkeypatch.setattr(SlowStorage, "longest_hold", 0.0)
    begun = SlowStorage.seconds
    report = store.vacuum_offline_features("g", older_than=AT_ONCE)
    assert SlowStorage.seconds - begun > 120 * SECONDS_A_REQUEST > object_storage.HOLD_SECONDS
    assert len(report.files) == 120
    assert data_files(store) == live_files(store)
    assert SlowStorage.longest_hold < object_storage.HOLD_SECONDS / 2


def test_a_snapshot_whose_locks_may_have_ended_is_not_kept(
    objects: fs.FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(ObjectStorage(objects, uuid.uuid4().hex))
    merged_twice(store, 2)
    with monkeypatch.context() as stalled:
        stalled.setattr(object_storage, "HOLD_SECONDS", -1.0)
        with pytest.raises(FeatureStoreUnavailable, match="another may have taken it"):
            store.create_snapshot("g", "mine")
    assert store.list_snapshots() == []
    store.create_snapshot("g", "mine")


def test_a_reader_lists_again_where_a_commit_goes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_log, "CHECKPOINT_INTERVAL", 4)
    store = FeatureStore(tmp_path)
    for value in range(3):
        write(store, [value], value)
    _, mark = store.offline_files_since("g", None)
    entries = LocalStorage.entries
    others: list[Callable[[], object]] = [
        lambda: write(store, [0, 1, 2], 9.0),
        lambda: store.compact_offline_features("g"),
        lambda: store.vacuum_offline_features("g", older_than=AT_ONCE),
    ]

    def listed_before(storage: LocalStorage, name: str = "", *, recursive: bool = False) -> list[Entry]:
        found = entries(storage, name, recursive=recursive)
        if storage.folder.name == "_commits":
            while others:
                others.pop(0)()
        return found

    monkeypatch.setattr(LocalStorage, "entries", listed_before)
    files, _ = store.offline_files_since("g", mark)
    assert not others
    # The mark's own commit is gone: all files count, those that there were when the reader began.
    assert [file.rows for file in files.files] == [1, 1, 1]
    files, _ = store.offline_files_since("g", mark)
    assert files.read(["event_timestamp", "symbol", "x"]).column("x").to_pylist() == [9.0, 9.0, 9.0]
