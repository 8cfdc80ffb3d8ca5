"""Files of a feature group as of one moment: what a reader holds on to while others write."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from mlinfra.features.commits import DataFile
from mlinfra.features.errors import CorruptFeatures
from mlinfra.features.files import storage_errors
from mlinfra.features.group import FeatureGroup
from mlinfra.features.parquet_files import (
    are_apart,
    check_sizes,
    dataset_of,
    in_order_of_time,
    scan_errors,
)
from mlinfra.features.storage import Storage
from mlinfra.features.timerange import TimeRange


@dataclass(frozen=True, slots=True)
class GroupFiles:
    """Some files of a group. A row's position is its place in all of them, one file after the other.

    Attributes:
        storage: the group's folder.
        group: columns that a file lacks are null: they were added after it.
        files: in the order they were added.
    """

    storage: Storage
    group: FeatureGroup
    files: tuple[DataFile, ...]

    @property
    def rows(self) -> int:
        """Rows in the files, the superseded ones included."""
        return sum(file.rows for file in self.files)

    @property
    def unique(self) -> bool:
        """Whether no two rows can have the same entity and event time."""
        return all(file.distinct_keys for file in self.files) and are_apart(in_order_of_time(self.files))

    def within(self, period: TimeRange) -> "GroupFiles":
        """Those that have rows in a period."""
        return self.only([period.overlaps(file.first_event, file.last_event) for file in self.files])

    def only(self, chosen: Sequence[bool]) -> "GroupFiles":
        """Those that are chosen, by their order."""
        files = tuple(file for file, take in zip(self.files, chosen, strict=True) if take)
        return replace(self, files=files)

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Columns of all rows, bit by bit and in order, each with the position of its first row.

        Raises:
            CorruptFeatures: a file is missing or damaged; the message names it.
            FeatureStoreUnavailable: the disk did not answer.
        """
        position = 0
        if not self.files:
            return
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
