"""Files of a feature group as of one moment: what a reader holds on to while others write."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from mlinfra.features.commits import DataFile
from mlinfra.features.errors import CorruptFeatures, InvalidDateRange
from mlinfra.features.files import storage_errors
from mlinfra.features.group import FeatureGroup
from mlinfra.features.parquet_files import (
    are_apart,
    check_sizes,
    dataset_of,
    in_order_of_time,
    read_files,
    scan_errors,
)
from mlinfra.features.storage import Storage
from mlinfra.features.timerange import TimeRange


@dataclass(frozen=True, slots=True)
class GroupFiles:
    """Some files of a group, and which of their rows count.

    A row's position is its place in all of the files, one after the other.

    Attributes:
        storage: the group's folder.
        group: columns that a file lacks are null: they were added after it.
        commit: the group's newest commit then.
        files: in the order they were added.
        period: rows of other event times do not count.
        created_before: rows created then or later, in microseconds since 1970, do not count.
        history_since: as of `GroupState`.
    """

    storage: Storage
    group: FeatureGroup
    commit: int
    files: tuple[DataFile, ...]
    period: TimeRange
    created_before: int | None = None
    history_since: datetime | None = None

    @property
    def rows(self) -> int:
        """Rows in the files, whether they count or not."""
        return sum(file.rows for file in self.files)

    @property
    def unique(self) -> bool:
        """Whether no two rows can have the same entity and event time."""
        return all(file.distinct_keys for file in self.files) and are_apart(in_order_of_time(self.files))

    def within(self, period: TimeRange, created_before: int | None = None) -> "GroupFiles":
        """Those that have rows in a period, of which only rows created in time count.

        Raises:
            InvalidDateRange: a compaction has forgotten what was known then.
        """
        if created_before is not None and self.history_since is not None:
            since = np.datetime64(self.history_since.astimezone(UTC).replace(tzinfo=None), "us")
            if np.datetime64(created_before, "us") < since:
                raise InvalidDateRange(
                    f"what was known of feature group {self.group.name!r} before {since} cannot be told any "
                    "more: a compaction has dropped the rows that were superseded by then; choose a later "
                    "known_at"
                )
        cut_offs = [each for each in (self.created_before, created_before) if each is not None]
        chosen = self.only(
            period.overlapping(
                [file.first_event for file in self.files], [file.last_event for file in self.files]
            ).tolist()
        )
        return replace(
            chosen, period=self.period & period, created_before=min(cut_offs) if cut_offs else None
        )

    def only(self, chosen: Sequence[bool]) -> "GroupFiles":
        """Those that are chosen, by their order."""
        files = tuple(file for file, take in zip(self.files, chosen, strict=True) if take)
        return replace(self, files=files)

    def newest(self, rows: int) -> "GroupFiles":
        """Those that came last, with at least so many rows; all where they have fewer."""
        held, chosen = 0, []
        for file in reversed(self.files):
            chosen.append(held < rows)
            held += file.rows
        return self.only(chosen[::-1])

    def read(self, columns: Sequence[str]) -> pa.Table:
        """The newest row of each key among those that count, sorted by time and entity.

        Raises:
            CorruptFeatures: a file is missing or damaged; the message names it.
            FeatureStoreUnavailable: the disk did not answer.
        """
        with storage_errors(self.storage.where()):
            return read_files(
                self.storage,
                self.group,
                self.files,
                period=self.period,
                columns=columns,
                created_before=self.created_before,
            )

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Columns of all rows, whether they count or not: in order, each with its first row's position.

        Raises:
            CorruptFeatures: a file is missing or damaged; the message names it.
            FeatureStoreUnavailable: the disk did not answer.
        """
        position = 0
        with storage_errors(self.storage.where()):
            check_sizes(self.storage, self.files)
            with scan_errors(self.storage, self.group):
                dataset = dataset_of(self.storage, self.group, self.files)
                for batch in dataset.to_batches(columns=list(columns)):
                    yield position, batch
                    position += batch.num_rows
        if position != self.rows:
            raise CorruptFeatures(
                f"feature group {self.group.name!r} in {self.storage.where()} has {position} rows instead of "
                f"the {self.rows} that its commits tell; restore its files from a backup"
            )
