"""Rows in pandas, Arrow or Polars as the Arrow table that is stored: checked, and in UTC."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mlinfra.features.errors import InvalidFeatures
from mlinfra.features.group import (
    CREATED_COLUMN,
    DEFAULT_TIME_COLUMN,
    PARTITION_COLUMN,
    TIME_COLUMNS,
)
from mlinfra.features.schema import PLAIN_TYPES

if TYPE_CHECKING:
    import polars

Rows: TypeAlias = "pd.DataFrame | pa.Table | pa.RecordBatchReader | polars.DataFrame"
CREATED_TYPE = pa.timestamp("us", "UTC")


def to_table(frame: Rows, *, group: str) -> tuple[pa.Table, str]:
    """The frame's columns in types that a group can hold, and which of them is the event time.

    A named index of pandas becomes columns; an index of times becomes the event time. NaN becomes null.

    Raises:
        InvalidFeatures: no rows, no event time, or a column that cannot be stored.
    """
    if isinstance(frame, pd.DataFrame):
        if frame.empty:
            raise InvalidFeatures(_nothing(group))
        columns = _with_index_as_columns(frame, group=group)
        _check_names(list(columns.columns), group=group)
        table = pa.table({name: _array(columns[name], group=group) for name in columns.columns})
    else:
        given = arrow_table(frame, group=group)
        if not len(given) or not given.num_columns:
            raise InvalidFeatures(_nothing(group))
        _check_names(given.column_names, group=group)
        table = pa.table(
            {name: _arrow_array(given.column(name), name, group=group) for name in given.column_names}
        )
    time_column = _time_column(table.column_names, group=group)
    for name in (time_column, CREATED_COLUMN):
        if name in table.column_names:
            _check_time(table, name, group=group)
    return table, time_column


def arrow_table(frame: Any, *, group: str) -> pa.Table:
    """What speaks Arrow as a table; Polars and others are never imported for it.

    Raises:
        InvalidFeatures: it does not speak Arrow, or cannot be read to its end.
    """
    if isinstance(frame, pa.Table):
        return frame
    try:
        if isinstance(frame, pa.RecordBatchReader):
            return frame.read_all()
        if isinstance(frame, pa.RecordBatch) or hasattr(frame, "__arrow_c_stream__"):
            return pa.table(frame)
    except pa.ArrowException as error:
        raise InvalidFeatures(f"rows for feature group {group!r} cannot be read: {error}") from error
    raise InvalidFeatures(
        f"rows for feature group {group!r} come as a pandas DataFrame, a pyarrow Table or RecordBatchReader, "
        f"or a Polars DataFrame (collect a LazyFrame first), not as {type(frame).__name__}"
    )


def _nothing(group: str) -> str:
    return f"nothing to write to feature group {group!r}: the frame has no rows or no columns"


def _with_index_as_columns(frame: pd.DataFrame, *, group: str) -> pd.DataFrame:
    index = frame.index
    if isinstance(index, pd.DatetimeIndex) and not set(TIME_COLUMNS) & set(frame.columns):
        return frame.rename_axis(index=DEFAULT_TIME_COLUMN).reset_index()
    if any(name is not None for name in index.names):
        clashing = [name for name in index.names if name in frame.columns]
        if clashing:
            raise InvalidFeatures(
                f"feature group {group!r}: {clashing[0]!r} is both a column and a level of the index; "
                "drop one of them"
            )
        return frame.reset_index()
    return frame


def _check_names(names: Sequence[object], *, group: str) -> None:
    for name in names:
        if not isinstance(name, str) or not name:
            raise InvalidFeatures(f"feature group {group!r}: column name {name!r} is not a text; rename it")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InvalidFeatures(
            f"feature group {group!r}: column {twice[0]!r} is there more than once; rename or drop one"
        )
    if PARTITION_COLUMN in names:
        raise InvalidFeatures(
            f"feature group {group!r}: {PARTITION_COLUMN!r} is the name of the partition folders; rename the "
            f"column, to {DEFAULT_TIME_COLUMN!r} if it is the time of the event"
        )


def _time_column(names: Sequence[str], *, group: str) -> str:
    for name in TIME_COLUMNS:
        if name in names:
            return name
    raise InvalidFeatures(
        f"feature group {group!r}: no event time; name its column {' or '.join(TIME_COLUMNS)}, or index the "
        f"frame by time. The columns are: {', '.join(names)}"
    )


def _array(series: "pd.Series[Any]", *, group: str) -> pa.Array:
    where = f"column {series.name!r} for feature group {group!r}"
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if series.dtype == object:
        _check_texts(series, where)
    try:
        array = _plain(from_pandas(series))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InvalidFeatures(f"{where} cannot be stored: {error}") from error
    _check_storable(array, where, str(series.dtype))
    return array


def _arrow_array(column: pa.ChunkedArray, name: str, *, group: str) -> pa.Array:
    where = f"column {name!r} for feature group {group!r}"
    try:
        if pa.types.is_dictionary(column.type):
            column = decoded(column)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        array = _plain(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InvalidFeatures(f"{where} cannot be stored: {error}") from error
    _check_storable(array, where, str(column.type))
    return array


def decoded(column: pa.ChunkedArray) -> pa.Array:
    """The values of a column that comes as a dictionary of them."""
    array = column.combine_chunks()
    values = array.dictionary
    if pa.types.is_string_view(values.type):
        # As Polars' categories come; pyarrow 25 decodes no dictionary of them.
        values = values.cast(pa.string())
    return pa.DictionaryArray.from_arrays(array.indices, values).dictionary_decode()


def _check_storable(array: pa.Array, where: str, given: str) -> None:
    if pa.types.is_timestamp(array.type) or pa.types.is_null(array.type):
        return
    if array.type not in PLAIN_TYPES:
        raise InvalidFeatures(
            f"{where} has type {given}, which cannot be stored; convert it to a number, text, boolean or time"
        )
    if pa.types.is_floating(array.type):
        _check_finite(array, where)


def _check_texts(series: "pd.Series[Any]", where: str) -> None:
    for value in series:
        if isinstance(value, str) or value is None or value is pd.NA or value is pd.NaT or value != value:
            continue
        remedy = (
            "pandas.to_datetime(..., utc=True)" if isinstance(value, datetime) else "one type, with astype"
        )
        raise InvalidFeatures(
            f"{where} holds Python objects (the first that is no text is {value!r} of type "
            f"{type(value).__name__}); convert it to {remedy}"
        )


def from_pandas(series: "pd.Series[Any]") -> pa.Array | pa.ChunkedArray:
    """A column in Arrow: NaN becomes null, a time zone UTC."""
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        # pyarrow 25 reads these through Series.values, which pandas 3.1 deprecates for them.
        instants = pa.Array.from_pandas(series.dt.tz_convert("UTC").dt.tz_localize(None))
        return instants.cast(pa.timestamp(instants.type.unit, "UTC"))
    return pa.Array.from_pandas(series)


def _plain(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """In one piece, with one type for text and one unit for time."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        return array.cast(pa.string())
    return _in_storable_unit(array) if pa.types.is_timestamp(array.type) else array


def _in_storable_unit(array: pa.Array) -> pa.Array:
    """In microseconds, or in nanoseconds where there are any; a time zone becomes UTC, the instant stays."""
    tz = "UTC" if array.type.tz else None
    if array.type.unit == "ns":
        nanoseconds = array.cast(pa.int64())
        whole = pc.all(pc.equal(pc.multiply(pc.divide(nanoseconds, 1000), 1000), nanoseconds)).as_py()
        if whole is False:
            return array.cast(pa.timestamp("ns", tz))
    return array.cast(pa.timestamp("us", tz))


def _check_finite(array: pa.Array, where: str) -> None:
    infinite = pc.is_inf(array)
    count = pc.sum(infinite).as_py() or 0
    if count:
        row = pc.index(infinite, pa.scalar(True)).as_py()
        raise InvalidFeatures(
            f"{where} has {count} infinite values, the first in row {row}; replace them or leave them null"
        )


def _check_time(table: pa.Table, name: str, *, group: str) -> None:
    column = table.column(name)
    if not pa.types.is_timestamp(column.type):
        raise InvalidFeatures(
            f"column {name!r} for feature group {group!r} holds {column.type}, not times; convert it with "
            "pandas.to_datetime, or cast it to a timestamp"
        )
    if column.null_count:
        raise InvalidFeatures(
            f"column {name!r} for feature group {group!r} has {column.null_count} rows without "
            "a time; drop them"
        )


def with_creation_time(table: pa.Table, now: datetime) -> pa.Table:
    """With `CREATED_COLUMN`, as given or else ``now``, as the last column."""
    if CREATED_COLUMN in table.column_names:
        created = table.column(CREATED_COLUMN).cast(CREATED_TYPE, safe=False)
        table = table.drop_columns([CREATED_COLUMN])
    else:
        created = pa.repeat(pa.scalar(now, CREATED_TYPE), len(table))
    return table.append_column(CREATED_COLUMN, created)
