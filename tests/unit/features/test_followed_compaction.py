"""Who follows a group by marks sees each row once, whatever is compacted and vacuumed meanwhile."""

import os
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.features import FeatureStore
from mlinfra.features.commits import CommitMark

LONG_AGO = timedelta(days=30)
DAY = timedelta(days=1)
STEPS = st.lists(st.sampled_from(["append", "age", "compact", "vacuum", "read"]), max_size=25)


class Followed:
    """A group whose files may be made to look old, and a reader that follows it."""

    def __init__(self, root: Path, max_rows: int) -> None:
        self.store = FeatureStore(root)
        self.seen: Counter[str] = Counter()
        self._max_rows = max_rows
        self._written = 0
        self._mark: CommitMark | None = None

    def append(self) -> None:
        """Rows of two days."""
        start = self._written
        self._written += 3
        frame = pd.DataFrame(
            {
                "id": [f"p{number}" for number in range(start, self._written)],
                "event_timestamp": [
                    datetime(2026, 1, 1 + number % 2, tzinfo=UTC) for number in range(start, self._written)
                ],
            }
        )
        self.store.write_offline_features("g", frame, entity_column="id", partition_by="day")

    def age(self) -> None:
        """All that the reader has seen was written long ago."""
        self.read()
        then = time.time() - LONG_AGO.total_seconds()
        for path in (self.store.root / "offline" / "g").rglob("*.parquet"):
            os.utime(path, (then, then))

    def compact(self) -> None:
        before = self.store.read_offline_features("g")
        self.store.compact_offline_features(
            "g", written_before=datetime.now(UTC) - DAY, max_rows=self._max_rows
        )
        pd.testing.assert_frame_equal(self.store.read_offline_features("g"), before)
        assert self.largest() <= self._max_rows

    def vacuum(self) -> None:
        self.store.vacuum_offline_features("g", older_than=DAY)

    def read(self) -> None:
        files, self._mark = self.store.offline_files_since("g", self._mark)
        self.seen.update(files.read(files.group.columns)["id"].to_pylist())

    def largest(self) -> int:
        """Rows of the largest file."""
        return max(file.rows for file in self.store.offline_files_since("g", None)[0].files)

    def written(self) -> set[str]:
        return {f"p{number}" for number in range(self._written)}


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from([3, 7, 1000]))
def test_each_row_is_seen_once(steps: list[str], max_rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        followed = Followed(Path(folder), max_rows)
        followed.append()
        for step in [*steps, "read"]:
            getattr(followed, step)()
        assert followed.seen == Counter(followed.written())
        assert set(followed.store.read_offline_features("g")["id"]) == followed.written()


def test_of_a_file_of_seen_and_new_rows_the_new_ones_alone_are_read(tmp_path: Path) -> None:
    followed = Followed(tmp_path, 1000)
    followed.append()
    followed.read()
    followed.append()
    followed.store.compact_offline_features("g")
    followed.read()
    assert followed.seen == Counter(followed.written())


def test_neighbours_are_merged_to_files_of_so_many_rows(tmp_path: Path) -> None:
    followed = Followed(tmp_path, 6)
    for _ in range(8):
        followed.append()
    followed.age()
    followed.compact()
    files = followed.store.offline_files_since("g", None)[0].files
    # Each day has 12 rows, in files of 2 and 1 by turns.
    assert sorted(file.rows for file in files) == [6, 6, 6, 6]
    followed.age()
    report = followed.store.compact_offline_features("g", max_rows=6)
    assert report.partitions == 0


def test_what_was_written_lately_stays_as_it_is(tmp_path: Path) -> None:
    followed = Followed(tmp_path, 1000)
    for _ in range(4):
        followed.append()
    report = followed.store.compact_offline_features("g", written_before=datetime.now(UTC) - DAY)
    assert report.files_before == 0
