"""Who reads a commit log beside a vacuum or another reader does not fail, and few commits stay in memory."""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyarrow import fs

from mlinfra.features import FeatureStore, commit_log, local_storage
from mlinfra.features.commit_log import CommitLog
from mlinfra.features.commits import Commit
from mlinfra.features.local_storage import LocalStorage
from mlinfra.features.object_storage import ObjectStorage


@pytest.fixture
def on_objects(objects: fs.FileSystem, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """A store whose every fourth commit is a checkpoint."""
    monkeypatch.setattr(commit_log, "CHECKPOINT_INTERVAL", 4)
    return FeatureStore(ObjectStorage(objects, uuid.uuid4().hex))


def write(store: FeatureStore, value: float) -> None:
    rows = pd.DataFrame({"event_timestamp": [pd.Timestamp("2024-01-01")], "symbol": "A", "x": [value]})
    store.write_offline_features("g", rows)


def log_of(store: FeatureStore, known: dict[str, Commit]) -> CommitLog:
    return CommitLog(store.storage.at("offline"), "g", known)


def rows_of(log: CommitLog) -> int:
    state = log.load()
    assert state is not None
    return sum(file.rows for file in state.files)


def test_a_listing_passes_over_what_is_deleted_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path)
    for name in ("a", "b", "folder/c"):
        storage.write(name, b"1")
    scandir = os.scandir

    @contextmanager
    def listed_before(folder: Path) -> Iterator[Iterable[Any]]:
        with scandir(folder) as scan:
            found = list(scan)
        (tmp_path / "a").unlink(missing_ok=True)
        yield found

    monkeypatch.setattr(local_storage.os, "scandir", listed_before)
    found = storage.entries(recursive=True)
    assert [entry.name for entry in found] == ["b", "folder", "folder/c"]


def test_commits_that_another_thread_forgets_are_not_missed(
    on_objects: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in range(3):
        write(on_objects, float(value))
    known: dict[str, Commit] = {}
    assert rows_of(log_of(on_objects, known)) == 3
    write(on_objects, 3.0)
    write(on_objects, 4.0)
    read_all = CommitLog.read_all
    others: list[Callable[[], object]] = [known.clear]

    def forgotten_meanwhile(log: CommitLog, names: Iterable[str]) -> dict[str, Commit]:
        found = read_all(log, names)
        if others and found:
            others.pop()()
        return found

    monkeypatch.setattr(CommitLog, "read_all", forgotten_meanwhile)
    log = log_of(on_objects, known)
    assert len(log._cached(log.names())) == 5
    assert not others


def test_what_two_threads_forget_at_once_is_forgotten_once(on_objects: FeatureStore) -> None:
    class Shared(dict[str, Commit]):
        """One whose names another thread takes away as soon as they were looked at."""

        def __iter__(self) -> Iterator[str]:
            names = list(super().__iter__())
            self.clear()
            return iter(names)

    write(on_objects, 0.0)
    known = Shared()
    assert rows_of(log_of(on_objects, known)) == 1
    known["00000000000000000009.json"] = known[next(iter(known.copy()))]
    assert rows_of(log_of(on_objects, known)) == 1


def test_of_the_commits_of_an_object_store_only_what_counts_stays_in_memory(on_objects: FeatureStore) -> None:
    known: dict[str, Commit] = {}
    for value in range(30):
        write(on_objects, float(value))
        assert rows_of(log_of(on_objects, known)) == value + 1
        assert len(known) <= 4
        assert sum(commit.files is not None for commit in known.values()) <= 1
    before = set(known)
    write(on_objects, 30.0)
    assert rows_of(log_of(on_objects, known)) == 31
    assert before < set(known)


def test_a_merge_and_a_drop_read_before_their_turn_what_was_there_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    for value in range(6):
        write(store, float(value))
    held: list[bool] = []
    read_in_turn: list[str] = []
    exclusive, read, entries = LocalStorage.exclusive, CommitLog._read, LocalStorage.entries

    @contextmanager
    def held_meanwhile(storage: LocalStorage, name: str) -> Iterator[Any]:
        with exclusive(storage, name) as still_held:
            held.append(True)
            yield still_held
            held.pop()

    def noted(log: CommitLog, name: str, kind: type[Any]) -> Any:
        if held:
            read_in_turn.append(name)
        return read(log, name, kind)

    def looked_around(storage: LocalStorage, name: str = "", *, recursive: bool = False) -> Any:
        if held and storage.folder.name == "g":
            read_in_turn.append("all files")
        return entries(storage, name, recursive=recursive)

    monkeypatch.setattr(LocalStorage, "entries", looked_around)
    monkeypatch.setattr(LocalStorage, "exclusive", held_meanwhile)
    monkeypatch.setattr(CommitLog, "_read", noted)
    assert store.compact_offline_features("g").files_before == 6
    soon = datetime.now(UTC) + timedelta(days=1)
    assert store.drop_offline_features("g", before="2025-01-01", written_before=soon).files == 1
    assert read_in_turn == []
    store.vacuum_offline_features("g", older_than=timedelta(0))
    assert read_in_turn == []
