"""A feature group that writers, merges, drops, vacuums, snapshots and followers are at, and what it holds.

A step may have others within it: they are done once it has looked around or written files, before it goes on.
"""

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import strategies as st

from mlinfra.features import CorruptFeatures, FeatureStore, commit_log, offline, vacuum
from mlinfra.features.commit_log import CommitLog
from mlinfra.features.commits import CommitMark
from mlinfra.features.manifest import Snapshot
from mlinfra.features.storage import Storage

FIRST_DAY = datetime(2026, 1, 1)
DAYS = 4
NAMES = ("append", "append", "die", "compact", "drop", "vacuum", "follow", "describe", "publish", "forget")


@dataclass(frozen=True)
class Step:
    """What is done, with a number that says how, and what is done in its midst."""

    name: str
    number: int
    within: tuple["Step", ...] = ()


ALONE = st.builds(Step, st.sampled_from(NAMES), st.integers(0, 5))
STEPS = st.lists(
    st.builds(Step, st.sampled_from(NAMES), st.integers(0, 5), st.lists(ALONE, max_size=4).map(tuple)),
    max_size=12,
)


@dataclass
class Follower:
    """Attributes: where it is, what it saw, and the vacuums then: after one, rows may come again."""

    mark: CommitMark | None = None
    seen: Counter[int] = field(default_factory=Counter)
    vacuums: int = 0


class BusyGroup:
    """The group."""

    def __init__(self, storage: Storage) -> None:
        self._stores = [FeatureStore(storage), FeatureStore(storage)]
        self._store = self._stores[0]
        self._day_of: dict[int, int] = {}
        """Of each row that was appended and not dropped."""
        self._written = 0
        self._followers = [Follower(), Follower()]
        self._described: tuple[Snapshot, set[int]] | None = None
        self._kept: dict[str, set[int]] = {}
        self._within: list[Step] = []
        self._vacuums = 0
        """Beginnings and ends of vacuums that may delete something."""
        self.append(0)

    def do(self, step: Step) -> None:
        """Do a step; after it, and each in its midst, all rows are there once."""
        self._within = list(step.within)
        getattr(self, step.name)(step.number)
        self._within = []
        self.check()

    def interrupt(self) -> None:
        """In the midst of a step: do the next of what is to be done there, one at each look."""
        if self._within:
            step = self._within.pop(0)
            within, self._within = self._within, []
            getattr(self, step.name)(step.number)
            self.check()
            self._within = within

    def check(self) -> None:
        """Each row that was appended and not dropped is there once, those of snapshots too."""
        for store in self._stores:
            assert sorted(store.read_offline_features("g")["x"]) == sorted(self._day_of)
        assert self._store.offline_files_since("g", None)[0].rows == len(self._day_of)
        for name, rows in self._kept.items():
            assert set(self._store.read_snapshot(name)["x"]) == rows

    def end(self) -> None:
        """Followers have seen all rows."""
        for _ in range(len(self._followers)):
            self.follow(0)

    def append(self, number: int) -> None:
        rows = {self._written + place: (number + place) % DAYS for place in range(2)}
        self._written += len(rows)
        frame = pd.DataFrame(
            {
                "event_timestamp": [FIRST_DAY + timedelta(days=day, seconds=x) for x, day in rows.items()],
                "symbol": "A",
                "x": list(rows),
            }
        )
        self._stores[number % 2].write_offline_features("g", frame, partition_by="day")
        self._day_of |= rows

    def die(self, number: int) -> None:
        """A writer that was killed before its commit."""
        folder = self._store.storage.at("offline/g")
        files = self._store.offline_files_since("g", None)[0].files
        for file in files[: number + 1]:
            folder.write(f"{file.partition}/{uuid.uuid4().hex}.parquet", folder.read(file.path))

    def compact(self, number: int) -> None:
        max_rows = (None, 3, 6)[number % 3]
        self._stores[number % 2].compact_offline_features("g", max_rows=max_rows)

    def drop(self, number: int) -> None:
        border = number % 3
        self._store.drop_offline_features("g", before=FIRST_DAY + timedelta(days=border))
        self._day_of = {x: day for x, day in self._day_of.items() if day >= border}

    def vacuum(self, number: int) -> None:
        grace = timedelta(days=number // 4)
        self._vacuums += not grace
        self._stores[number % 2].vacuum_offline_features("g", older_than=grace)
        self._vacuums += not grace

    def follow(self, number: int) -> None:
        # Its step is not within a step of its own.
        follower = self._followers.pop(number % len(self._followers))
        while True:
            vacuums = self._vacuums
            files, mark = self._stores[number % 2].offline_files_since("g", follower.mark)
            there = set(self._day_of)
            self.interrupt()
            try:
                batches = [batch.column("x").to_pylist() for _, batch in files.batches(["x"])]
                break
            except CorruptFeatures:
                assert self._vacuums > vacuums
        new = Counter(x for batch in batches for x in batch)
        assert new.total() == len(new)
        # On an object store a commit may be as late as the mark's, and comes again.
        if self._store.storage.locks_exclude and follower.vacuums == vacuums:
            assert not new & follower.seen
        follower.mark = mark
        follower.seen |= new
        assert there <= follower.seen.keys() <= set(range(self._written))
        follower.vacuums = vacuums
        self._followers.append(follower)

    def describe(self, number: int) -> None:
        if self._day_of:
            snapshot = self._store.describe_snapshot("g")
            self._described = snapshot, set(self._day_of)

    def publish(self, number: int) -> None:
        if self._described is None:
            return
        snapshot, rows = self._described
        self._described = None
        try:
            self._store.publish_snapshot(snapshot)
        except CorruptFeatures:
            assert self._vacuums
            return
        self._kept[snapshot.id] = rows

    def forget(self, number: int) -> None:
        if self._kept:
            name = sorted(self._kept)[number % len(self._kept)]
            del self._kept[name]
            self._store.delete_snapshot(name)


@contextmanager
def busy_group(storage: Storage) -> Iterator[BusyGroup]:
    """A group whose checkpoints are frequent and whose upkeep takes many turns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_log, "CHECKPOINT_INTERVAL", 4)
        patch.setattr(offline, "PARTS_A_COMMIT", 1)
        patch.setattr(vacuum, "TURN_SECONDS", 0.0)
        patch.setattr(os, "fsync", lambda _: None)
        group = BusyGroup(storage)

        def then_interrupted(call: Callable[..., Any]) -> Callable[..., Any]:
            def called(*args: Any, **named: Any) -> Any:
                result = call(*args, **named)
                group.interrupt()
                return result

            return called

        patch.setattr(offline, "write_files", then_interrupted(offline.write_files))
        patch.setattr(offline, "merged", then_interrupted(offline.merged))
        patch.setattr(CommitLog, "_read_ahead", then_interrupted(CommitLog._read_ahead))
        patch.setattr(vacuum, "_read", then_interrupted(vacuum._read))
        pause = then_interrupted(lambda _: None)
        patch.setattr(vacuum, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=pause))
        yield group
