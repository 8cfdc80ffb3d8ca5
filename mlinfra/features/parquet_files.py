"""The Parquet files of a feature group: how rows get into them and out again."""

import hashlib
import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mlinfra.features.commits import DataFile
from mlinfra.features.errors import CorruptFeatures
from mlinfra.features.frame import CREATED_TYPE
from mlinfra.features.group import CREATED_COLUMN, FeatureGroup
from mlinfra.features.partitions import split_by_period
from mlinfra.features.rows import last_of_key, sorted_rows, times_of
from mlinfra.features.storage import Storage
from mlinfra.features.timerange import TimeRange

ROW_GROUP_ROWS = 131072
"""Bounds the memory of a scan, and lets it skip parts of a large file by their times."""

NULLABLE_TYPES = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


def write_files(storage: Storage, group: FeatureGroup, rows: pa.Table) -> tuple[DataFile, ...]:
    """Write sorted rows, one file a period, and have them on disk; no commit names them yet."""
    name = f"{uuid.uuid4().hex}.parquet"
    times = times_of(rows, group.time_column)
    newest = last_of_key(rows, group)
    written: list[DataFile] = []
    names: list[str] = []
    try:
        for partition, part in split_by_period(times, group.partition_by):
            names.append(f"{partition}/{name}")
            content = _encoded(rows[part])
            storage.write(names[-1], memoryview(content))
            written.append(
                DataFile(
                    path=names[-1],
                    rows=part.stop - part.start,
                    bytes=content.size,
                    sha256=hashlib.sha256(content).hexdigest(),
                    first_event=str(times[part.start]),
                    last_event=str(times[part.stop - 1]),
                    distinct_keys=bool(newest[part].all()),
                )
            )
    except BaseException:
        remove_files(storage, names)
        raise
    return tuple(written)


def remove_files(storage: Storage, names: Iterable[str]) -> None:
    """Remove files that no commit names."""
    for name in names:
        storage.delete(name)


def read_files(
    storage: Storage,
    group: FeatureGroup,
    files: Sequence[DataFile],
    *,
    period: TimeRange,
    columns: Sequence[str],
    created_before: int | None = None,
) -> pa.Table:
    """The newest row of each key in the period, sorted by time and entity.

    Args:
        storage: the group's folder.
        group: columns that a file lacks are null: they were added after it.
        files: in the order they were added.
        period: which event times to read.
        columns: entity and event time, and whatever else is wanted.
        created_before: rows created then or later, in microseconds since 1970, do not count.

    Raises:
        CorruptFeatures: a file is missing or damaged; the message names it.
    """
    check_sizes(storage, files)
    in_order = in_order_of_time(files)
    clean = are_apart(in_order) and all(file.distinct_keys for file in files)
    needed = columns if clean else list(dict.fromkeys([*columns, CREATED_COLUMN]))
    rows = period.expression(group.time_column)
    if created_before is not None:
        known = ds.field(CREATED_COLUMN) < pa.scalar(created_before, pa.int64()).cast(CREATED_TYPE)
        rows = known if rows is None else rows & known
    with scan_errors(storage, group):
        dataset = dataset_of(storage, group, in_order if clean else files)
        table = dataset.to_table(columns=list(needed), filter=rows)
    if not clean:
        table = sorted_rows(table, group)
        table = table.filter(pa.array(last_of_key(table, group)))
    return table.select(columns)


def _encoded(rows: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", row_group_size=ROW_GROUP_ROWS)
    return sink.getvalue()


def check_sizes(storage: Storage, files: Sequence[DataFile]) -> None:
    for file in files:
        size = storage.size(file.path)
        if size != file.bytes:
            found = "is missing" if size is None else f"has {size} bytes instead of {file.bytes}"
            raise CorruptFeatures(
                f"{storage.where(file.path)} {found}; restore it from a backup, or write its rows again"
            )


def in_order_of_time(files: Sequence[DataFile]) -> list[DataFile]:
    return sorted(files, key=lambda file: np.datetime64(file.first_event))


def are_apart(in_order: Sequence[DataFile]) -> bool:
    """Whether each file begins after the one before it ended: then nothing is left to sort."""
    return all(
        np.datetime64(earlier.last_event) < np.datetime64(later.first_event)
        for earlier, later in itertools.pairwise(in_order)
    )


def dataset_of(storage: Storage, group: FeatureGroup, files: Sequence[DataFile]) -> ds.Dataset:
    """The files as one dataset of the group's columns."""
    if not files:
        return ds.dataset(group.schema.empty_table())
    paths = [storage.path(file.path) for file in files]
    return ds.dataset(paths, schema=group.schema, format="parquet", filesystem=storage.filesystem)


@contextmanager
def scan_errors(storage: Storage, group: FeatureGroup) -> Iterator[None]:
    """Tell of files that cannot be read as of the store."""
    try:
        yield
    except PermissionError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise CorruptFeatures(
            f"feature group {group.name!r} in {storage.where()} cannot be read: {error}; restore the file "
            "from a backup, or write its rows again"
        ) from error


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """In pandas' own types, nullable ones where integers or booleans have nulls: a float would round them."""
    frame: pd.DataFrame = table.to_pandas()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count and column.type in NULLABLE_TYPES:
            frame[name] = column.to_pandas(types_mapper=NULLABLE_TYPES.get)
    return frame
