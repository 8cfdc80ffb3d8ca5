"""Rows to predict, in batches: from a Parquet or CSV file, or from a feature group."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mlinfra.errors import in_a_line, suggestion
from mlinfra.features.errors import InvalidFeatures
from mlinfra.features.event_times import event_times
from mlinfra.features.file_names import CSV_SUFFIXES, PARQUET_SUFFIXES
from mlinfra.features.group import TIME_COLUMNS
from mlinfra.features.timerange import Moment, TimeRange, time_range
from mlinfra.serving.log_rows import is_log, rows_with_features
from mlinfra.serving.windows import Floats, Int64s

if TYPE_CHECKING:
    from mlinfra.features import FeatureStore
    from mlinfra.features.group import FeatureGroup
    from mlinfra.features.group_files import GroupFiles

CSV_BLOCK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows to predict.

    Attributes:
        keys: columns that the answer repeats.
        entities: key of each row.
        times: event times, nanoseconds since 1970 in UTC; None where the rows have none.
        values: the features, (rows, features); NaN is missing.
    """

    keys: pa.Table
    entities: Sequence[Any]
    times: Int64s | None
    values: Floats


def rows_of_file(
    path: Path,
    features: Sequence[str],
    *,
    entity: str | None,
    timestamp: str | None,
    needs_time: bool,
    batch_rows: int,
) -> Iterator[RowBatch]:
    """The rows of a file in its order, never all of them in memory.

    Args:
        path: a Parquet or CSV file.
        features: columns that the model reads.
        entity: column of the entity's key; all rows are of one entity where None.
        timestamp: column of the event time; ``event_timestamp`` or ``timestamp`` where None.
        needs_time: whether rows must have one, since the order of rows counts.
        batch_rows: rows in a batch at most.

    Raises:
        InvalidFeatures: the file cannot be read, or lacks a column.
    """
    names, batches = _open(path, batch_rows)
    time_from = timestamp or next((name for name in TIME_COLUMNS if name in names), None)
    for name in (*features, *(each for each in (entity, time_from) if each is not None)):
        if name not in names:
            raise InvalidFeatures(f"{path} has no column {name!r}: {suggestion(name, names)}")
        if names.count(name) > 1:
            raise InvalidFeatures(f"{path}: column {name!r} is there more than once; rename or drop one")
    if needs_time and time_from is None:
        raise InvalidFeatures(
            f"{path}: the model reads several rows in order of time, and no column tells it; name it with "
            "--timestamp"
        )
    keys = [name for name in (entity, time_from) if name is not None]
    for batch in batches:
        table = pa.Table.from_batches([batch])
        times = None
        if time_from is not None:
            instants, _ = event_times(table.column(time_from), f"{path}: column {time_from!r}")
            times = _nanoseconds(instants)
            place = table.column_names.index(time_from)
            table = table.set_column(place, time_from, instants)
        yield _batch(table, keys, entity, times, features, where=str(path))


def rows_of_group(
    store: "FeatureStore",
    name: str,
    features: Sequence[str],
    *,
    start: Moment | None,
    end: Moment | None,
) -> Iterator[RowBatch]:
    """The rows of a feature group in order of time, one stretch of its partitions in memory at a time.

    Raises:
        UnknownFeatureGroup, UnknownFeature, InvalidDateRange: the message names those there are.
    """
    files, _ = store.offline_files_since(name, None)
    group = files.group
    refuse_missing_columns(group, features)
    files = files.within(time_range(start, end, group.time_type))
    return rows_of_files(files, features)


def rows_of_files(
    files: "GroupFiles", features: Sequence[str], *, also: Sequence[str] = ()
) -> Iterator[RowBatch]:
    """The rows of a group's files that count, in order of time, one stretch in memory at a time.

    Args:
        files: which, and of which period.
        features: columns that the model reads; the group has them.
        also: columns to keep among the keys.
    """
    group = files.group
    keys = [group.entity_column, group.time_column, *also]
    for first, last in _stretches([(file.first_event, file.last_event) for file in files.files]):
        unit = group.time_type.unit
        period = TimeRange(np.datetime64(first, unit), np.datetime64(last, unit) + 1, group.time_type)
        table = files.within(period).read(list(dict.fromkeys([*keys, *features])))
        if is_log(group):
            # Predictions that were logged without what the model read: nothing of it was missing.
            table = table.filter(pa.array(rows_with_features(table, features)))
        if len(table):
            times = _nanoseconds(table.column(group.time_column).combine_chunks())
            where = f"feature group {group.name!r}"
            yield _batch(table, keys, group.entity_column, times, features, where=where)


def refuse_missing_columns(group: "FeatureGroup", names: Sequence[str]) -> None:
    """Raise `InvalidFeatures` for a column that a group lacks."""
    for name in names:
        if name not in group.features:
            raise InvalidFeatures(
                f"feature group {group.name!r} has no feature {name!r}: {suggestion(name, group.features)}"
            )


def _open(path: Path, batch_rows: int) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    name = path.name.lower()
    with _reading(path):
        if name.endswith(PARQUET_SUFFIXES):
            file = pq.ParquetFile(path)
            return file.schema_arrow.names, _read(path, file.iter_batches(batch_size=batch_rows))
        if name.endswith(CSV_SUFFIXES) and not name.endswith(".gz"):
            reader = pacsv.open_csv(path, pacsv.ReadOptions(block_size=CSV_BLOCK_BYTES))
            return reader.schema.names, _read(path, reader)
    raise InvalidFeatures(f"{path} is neither .parquet nor .csv")


def _read(path: Path, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with _reading(path):
        yield from batches


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise InvalidFeatures(f"{path} cannot be read: {in_a_line(error)}") from error


def _batch(
    table: pa.Table,
    keys: Sequence[str],
    entity: str | None,
    times: Int64s | None,
    features: Sequence[str],
    *,
    where: str,
) -> RowBatch:
    entities = table.column(entity).to_pylist() if entity is not None else [""] * len(table)
    if any(each is None for each in entities):
        raise InvalidFeatures(f"{where}: column {entity!r} tells no entity in row {entities.index(None) + 1}")
    columns = [_numbers(table.column(name), name, where) for name in features]
    return RowBatch(table.select(list(keys)), entities, times, np.column_stack(columns))


def _numbers(column: pa.ChunkedArray, name: str, where: str) -> Floats:
    kind = column.type
    known = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    if not known and not pa.types.is_null(kind):
        raise InvalidFeatures(f"{where}: feature {name!r} holds {kind}, not numbers")
    values: Floats = column.cast(pa.float64(), safe=False).to_numpy()
    return values


def _nanoseconds(instants: Any) -> Int64s:
    kind = pa.timestamp("ns", instants.type.tz)
    if instants.null_count:
        raise InvalidFeatures("some rows have no event time")
    values: Int64s = instants.cast(kind).cast(pa.int64()).to_numpy()
    return values


def _stretches(periods: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Periods joined where they overlap, in order of time."""
    joined: list[tuple[str, str]] = []
    for first, last in sorted(periods):
        if joined and np.datetime64(first) <= np.datetime64(joined[-1][1]):
            if np.datetime64(last) > np.datetime64(joined[-1][1]):
                joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    yield from joined
