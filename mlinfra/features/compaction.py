"""Compaction: the many small files of a partition become one.

A write adds a file to each partition that it has rows for, so a group that is written often is made of many
small files. Compaction writes the rows of a partition to one file, and then a commit replaces the others by
it, one for several partitions: what is merged stays so, also where the rest is never done. Readers see the
files of before or those of after, the same rows in both. The files of before stay on disk for readers that
still have them in hand, until a vacuum (`mlinfra.features.vacuum`).

Rows that a newer one supersedes are kept, for they tell what was known at an earlier time, unless they were
created at the very same time: then nothing can tell them from rows that never were.
"""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, takewhile

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlinfra.features.commits import DataFile, Replacement
from mlinfra.features.group import CREATED_COLUMN, FeatureGroup
from mlinfra.features.parquet_files import read_versions, remove_files, write_file
from mlinfra.features.rows import last_of_key, sorted_rows, times_of
from mlinfra.features.storage import Storage
from mlinfra.features.timerange import TimeRange


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a compaction did.

    Attributes:
        feature_group: name of the group.
        partitions: folders whose files were merged.
        files_before, files_after: files in these folders.
        rows_before, rows_after: rows in these folders, those that newer ones supersede included.
        bytes_before, bytes_after: their size.
    """

    feature_group: str
    partitions: int
    files_before: int
    files_after: int
    rows_before: int
    rows_after: int
    bytes_before: int
    bytes_after: int


def report_of(name: str, files: Mapping[str, DataFile], replaced: Sequence[Replacement]) -> CompactionReport:
    """The report of a compaction of a group that replaced some of these files, which are by their paths."""
    before = [files[path] for each in replaced for path in each.remove]
    after = [each.add for each in replaced]
    return CompactionReport(
        feature_group=name,
        partitions=len(replaced),
        files_before=len(before),
        files_after=len(after),
        rows_before=sum(file.rows for file in before),
        rows_after=sum(file.rows for file in after),
        bytes_before=sum(file.bytes for file in before),
        bytes_after=sum(file.bytes for file in after),
    )


def to_compact(
    files: Sequence[DataFile],
    *,
    min_files: int,
    forgetting: bool,
    max_rows: int | None = None,
    kept: Collection[str] = (),
) -> list[tuple[DataFile, ...]]:
    """The files to merge, partition by partition, each in their order.

    Args:
        files: all files of the group, in their order.
        min_files: fewer files are not merged.
        forgetting: whether superseded rows are dropped, so that a single file may become smaller.
        max_rows: files of more rows do not come of it; as many as a partition has where absent.
        kept: paths of files that stay, and with them those that came to the partition after them.
    """
    in_partitions = sorted(files, key=lambda file: file.partition)
    partitions = (part for _, part in groupby(in_partitions, key=lambda file: file.partition))
    old = (tuple(takewhile(lambda file: file.path not in kept, part)) for part in partitions)
    return [
        part
        for whole in old
        for part in _parts(whole, max_rows)
        if len(part) >= min_files or (forgetting and any(not file.distinct_keys for file in part))
    ]


def _parts(files: tuple[DataFile, ...], max_rows: int | None) -> Iterator[tuple[DataFile, ...]]:
    """Neighbours that have at most so many rows together; a file that has more stands alone."""
    if max_rows is None:
        yield files
        return
    part: list[DataFile] = []
    rows = 0
    for file in files:
        if part and rows + file.rows > max_rows:
            yield tuple(part)
            part, rows = [], 0
        part.append(file)
        rows += file.rows
    yield tuple(part)


def merged(
    storage: Storage,
    group: FeatureGroup,
    parts: Sequence[tuple[DataFile, ...]],
    *,
    forget_before: datetime | None,
) -> tuple[list[Replacement], bool]:
    """Write the rows of each part to one file, which no commit names yet; and whether any were forgotten.

    Args:
        storage: the group's folder.
        group: what the files hold.
        parts: files of one partition each, in their order.
        forget_before: rows that one created before then supersedes are left out.
    """
    everything = TimeRange(None, None, group.time_type)
    written: list[Replacement] = []
    forgotten = False
    try:
        for part in parts:
            rows = read_versions(storage, group, part, period=everything, columns=group.schema.names)
            rows = sorted_rows(rows, group)
            kept = kept_rows(rows, group, forget_before)
            forgotten |= bool((kept_rows(rows, group, None) > kept).any())
            rows = rows.filter(pa.array(kept))
            path = f"{part[0].partition}/{uuid.uuid4().hex}.parquet"
            file = write_file(storage, path, rows, group, distinct_keys=bool(last_of_key(rows, group).all()))
            order = max(each.order or 0 for each in part)
            written.append(
                Replacement(file.model_copy(update={"order": order}), tuple(each.path for each in part))
            )
    except BaseException:
        remove_files(storage, (each.add.path for each in written))
        raise
    return written, forgotten


def kept_rows(rows: pa.Table, group: FeatureGroup, forget_before: datetime | None) -> npt.NDArray[np.bool_]:
    """Which rows of a sorted table to keep, shape (rows,); ``forget_before`` as of `merged`."""
    created = times_of(rows, CREATED_COLUMN)
    kept = last_of_key(rows, group)
    if len(rows) > 1:
        told_apart = created[1:] != created[:-1]
        if forget_before is not None:
            moment = np.datetime64(forget_before.replace(tzinfo=None), "us")
            told_apart &= created[1:] >= moment
        kept[:-1] |= told_apart
    return kept
