"""Whoever follows a group gets each row once, whatever is merged, deleted or killed meanwhile."""

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.features import FeatureStore
from mlinfra.features.commit_log import CommitLog
from mlinfra.features.commits import CommitMark, Replacement
from mlinfra.features.compaction import merged, to_compact
from mlinfra.features.offline import OfflineStore
from mlinfra.features.storage import Storage

DAY = datetime(2026, 1, 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("compact"), st.sampled_from([None, 3, 6])),
        st.tuples(st.just("begin"), st.sampled_from([None, 6])),
        st.tuples(st.just("finish"), st.just(0)),
        st.tuples(st.just("vacuum"), st.integers(0, 1)),
        st.tuples(st.just("read"), st.integers(0, 1)),
    ),
    max_size=14,
)


@dataclass
class Reader:
    mark: CommitMark | None = None
    seen: Counter[float] = field(default_factory=Counter)
    exact: bool = True

    def read(self, offline: OfflineStore, written: int) -> None:
        files, self.mark = offline.files_since("g", self.mark)
        new = Counter(value for _, batch in files.batches(["x"]) for value in batch.column("x").to_pylist())
        assert not self.exact or not new & self.seen
        self.seen |= new
        assert new.total() == len(new)
        assert self.seen == Counter(map(float, range(written)))
        self.exact = True


@dataclass
class Writers:
    """Of one group; a compaction that has begun may end after others, or never."""

    storage: Storage
    offline: OfflineStore
    written: int = 0
    begun: list[Replacement] = field(default_factory=list)

    def append(self, rows: int) -> None:
        numbers = range(self.written, self.written + rows)
        frame = pd.DataFrame(
            {
                "event_timestamp": [DAY + timedelta(hours=number % 48, seconds=number) for number in numbers],
                "symbol": "A",
                "x": [float(number) for number in numbers],
            }
        )
        self.offline.write("g", frame, entity_column=None, partition_by="day")
        self.written += rows

    def begin(self, max_rows: int | None) -> None:
        files = self.offline.files_of("g")
        parts = to_compact(files.files, min_files=2, max_rows=max_rows, forgetting=False)
        self.begun, _ = merged(files.storage, files.group, parts, forget_before=None)

    def finish(self) -> None:
        CommitLog(self.storage, "g").replace(self.begun, history_since=None, now=datetime.now(UTC))
        self.begun = []


@given(steps=STEPS)
@settings(max_examples=40)
def test_a_reader_that_follows_a_group_gets_each_row_once(steps: list[tuple[str, int | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        storage = FeatureStore(Path(folder)).storage.at("offline")
        writers = Writers(storage, OfflineStore(storage))
        readers = [Reader(), Reader()]
        writers.append(1)
        for step, size in steps:
            if step == "append":
                writers.append(size or 1)
            elif step == "compact":
                writers.offline.compact(
                    "g", min_files=2, max_rows=size, forget_before=None, written_before=None
                )
            elif step == "begin":
                writers.begin(size)
            elif step == "finish":
                writers.finish()
            elif step == "vacuum":
                grace = timedelta(days=size or 0)
                report = writers.offline.vacuum("g", older_than=grace, protected=set, dry_run=False)
                for reader in readers:
                    reader.exact &= not (report.files or report.commits)
            else:
                readers[size or 0].read(writers.offline, writers.written)
        for reader in readers:
            reader.read(writers.offline, writers.written)
