"""The Parquet files of a feature group: how rows get into them and out again."""

import hashlib
import itertools
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mlinfra.errors import in_a_line
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
WRITERS = 8
"""Files written at once: a disk's sync and an object store's answer take longer than the encoding."""

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
    """Write sorted rows, one file a period, and have them kept; no commit names them yet."""
    name = f"{uuid.uuid4().hex}.parquet"
    times = times_of(rows, group.time_column)
    newest = last_of_key(rows, group)
    parts = [(f"{partition}/{name}", part) for partition, part in split_by_period(times, group.partition_by)]
    stopped = threading.Event()

    def written(path: str, part: slice) -> DataFile | None:
        if stopped.is_set():
            return None
        return write_file(storage, path, rows[part], group, distinct_keys=bool(newest[part].all()))

    with ThreadPoolExecutor(WRITERS) as pool:
        pending = [pool.submit(written, path, part) for path, part in parts]
        try:
            return tuple(file for each in pending if (file := each.result()))
        except BaseException:
            stopped.set()
            wait(pending)
            remove_files(storage, (path for path, _ in parts))
            raise


def write_file(
    storage: Storage, path: str, rows: pa.Table, group: FeatureGroup, *, distinct_keys: bool
) -> DataFile:
    """Write sorted rows, at least one, as one file, and have it kept; no commit names it yet."""
    times = rows.column(group.time_column)
    content = _encoded(rows)
    storage.write(path, memoryview(content))
    return DataFile(
        path=path,
        rows=len(rows),
        bytes=content.size,
        sha256=hashlib.sha256(content).hexdigest(),
        first_event=str(times[:1].to_numpy()[0]),
        last_event=str(times[-1:].to_numpy()[0]),
        distinct_keys=distinct_keys,
    )


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

    What is read is what is given back: columns and parts of files that the period does not need stay unread,
    and only files whose times overlap are sorted together.

    Args:
        storage: the group's folder.
        group: columns that a file lacks are null: they were added after it.
        files: in their order.
        period: which event times to read.
        columns: entity and event time, and whatever else is wanted.
        created_before: rows created then or later, in microseconds since 1970, do not count.

    Raises:
        CorruptFeatures: a file is missing or damaged; the message names it.
    """
    within = period.overlapping([file.first_event for file in files], [file.last_event for file in files])
    tables = [
        _read_run(storage, group, run, period=period, columns=columns, created_before=created_before)
        for run in _runs([files[number] for number in np.flatnonzero(within).tolist()])
    ]
    schema = pa.schema([group.schema.field(name) for name in columns])
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _runs(files: Sequence[DataFile]) -> list[list[DataFile]]:
    """Files that overlap in time, together and in their order; those that do not, in order of time."""
    runs: list[list[DataFile]] = []
    place = {file.path: number for number, file in enumerate(files)}
    for clean, clusters in itertools.groupby(overlapping(in_order_of_time(files)), key=_is_clean):
        if clean:
            runs.append([file for cluster in clusters for file in cluster])
        else:
            runs += [sorted(cluster, key=lambda file: place[file.path]) for cluster in clusters]
    return runs


def overlapping(in_order: Sequence[DataFile]) -> list[list[DataFile]]:
    """Files in order of time, those together that overlap in time with one another."""
    clusters: list[list[DataFile]] = []
    end = None
    for file in in_order:
        if end is not None and np.datetime64(file.first_event) <= end:
            clusters[-1].append(file)
            end = max(end, np.datetime64(file.last_event))
        else:
            clusters.append([file])
            end = np.datetime64(file.last_event)
    return clusters


def _is_clean(cluster: Sequence[DataFile]) -> bool:
    return len(cluster) == 1 and cluster[0].distinct_keys


def _read_run(
    storage: Storage,
    group: FeatureGroup,
    files: Sequence[DataFile],
    *,
    period: TimeRange,
    columns: Sequence[str],
    created_before: int | None,
) -> pa.Table:
    clean = are_apart(files) and all(file.distinct_keys for file in files)
    needed = columns if clean else list(dict.fromkeys([*columns, CREATED_COLUMN]))
    table = read_versions(storage, group, files, period=period, columns=needed, created_before=created_before)
    if not clean:
        if len(files) > 1:
            table = sorted_rows(table, group)
        table = table.filter(pa.array(last_of_key(table, group)))
    return table.select(columns)


def read_versions(
    storage: Storage,
    group: FeatureGroup,
    files: Sequence[DataFile],
    *,
    period: TimeRange,
    columns: Sequence[str],
    created_before: int | None = None,
) -> pa.Table:
    """All rows of the files in the period, superseded ones too, one file after the other."""
    whole = all(period.contains(file.first_event, file.last_event) for file in files)
    rows = None if whole else period.expression(group.time_column)
    if created_before is not None:
        known = ds.field(CREATED_COLUMN) < pa.scalar(created_before, pa.int64()).cast(CREATED_TYPE)
        rows = known if rows is None else rows & known
    with scan_errors(storage, group, files):
        return dataset_of(storage, group, files).to_table(columns=list(columns), filter=rows)


def _encoded(rows: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(
        rows,
        sink,
        compression="zstd",
        row_group_size=ROW_GROUP_ROWS,
        # Numbers seldom repeat: trying a dictionary takes three times as long, and larger files come out.
        use_dictionary=[field.name for field in rows.schema if pa.types.is_string(field.type)],
        write_page_checksum=True,
    )
    return sink.getvalue()


def check_sizes(storage: Storage, files: Sequence[DataFile]) -> None:
    """Refuse files that are not there, or of another size; raises `CorruptFeatures`."""
    for file, size in zip(files, _sizes(storage, [file.path for file in files]), strict=True):
        if size != file.bytes:
            found = "is missing" if size is None else f"has {size} bytes instead of {file.bytes}"
            raise CorruptFeatures(
                f"{storage.where(file.path)} {found}; restore it from a backup, or write its rows again"
            )


def _sizes(storage: Storage, names: Sequence[str]) -> list[int | None]:
    if storage.locks_exclude:
        return [storage.size(name) for name in names]
    # A snapshot asks for them all under a lock that ends by itself.
    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(storage.size, names))


def in_order_of_time(files: Sequence[DataFile]) -> list[DataFile]:
    return sorted(files, key=lambda file: np.datetime64(file.first_event))


def are_apart(in_order: Sequence[DataFile]) -> bool:
    """Whether each file begins after the one before it ended: then nothing is left to sort."""
    return all(
        np.datetime64(earlier.last_event) < np.datetime64(later.first_event)
        for earlier, later in itertools.pairwise(in_order)
    )


def dataset_of(storage: Storage, group: FeatureGroup, files: Sequence[DataFile]) -> ds.FileSystemDataset:
    """The files as one dataset of the group's columns, without a look at any of them."""
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet = ds.ParquetFileFormat(default_fragment_scan_options=options)
    fragments = [
        parquet.make_fragment(storage.path(file.path), storage.filesystem, file_size=file.bytes)
        for file in files
    ]
    return ds.FileSystemDataset(fragments, group.schema, parquet, storage.filesystem)


@contextmanager
def scan_errors(storage: Storage, group: FeatureGroup, files: Sequence[DataFile] = ()) -> Iterator[None]:
    """Tell of files that cannot be read as of the store, naming the one that is damaged."""
    try:
        yield
    except PermissionError:
        raise
    except (pa.ArrowException, OSError) as error:
        damage = next(filter(None, (damage_of(storage, group, file) for file in files)), None)
        raise CorruptFeatures(
            damage
            or f"feature group {group.name!r} in {storage.where()} cannot be read: {in_a_line(error)}; "
            "restore the file from a backup, or write its rows again"
        ) from error


def damage_of(storage: Storage, group: FeatureGroup, file: DataFile) -> str | None:
    """What is wrong with a file, and in which column where it can be told; None where it can be read."""
    where, remedy = storage.where(file.path), "restore it from a backup, or write its rows again"
    size = storage.size(file.path)
    if size is None:
        return f"{where} is missing; {remedy}"
    if size != file.bytes:
        return f"{where} has {size} bytes instead of {file.bytes}; {remedy}"
    try:
        content = dataset_of(storage, group, [file])
        names = next(content.get_fragments()).physical_schema.names
    except (pa.ArrowException, OSError) as error:
        return f"{where} is no Parquet file any more: {in_a_line(error)}; {remedy}"
    for name in names:
        try:
            content.to_table(columns=[name])
        except (pa.ArrowException, OSError) as error:
            return f"{where} is damaged in column {name!r}: {in_a_line(error)}; {remedy}"
    return None


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """In pandas' own types, nullable ones where integers or booleans have nulls: a float would round them."""
    frame: pd.DataFrame = table.to_pandas()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count and column.type in NULLABLE_TYPES:
            frame[name] = column.to_pandas(types_mapper=NULLABLE_TYPES.get)
    return frame
