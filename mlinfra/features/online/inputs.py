"""What callers give to be written, as checked keys, times and columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from mlinfra.features.errors import InvalidFeatures
from mlinfra.features.frame import CREATED_TYPE, Rows, arrow_table, to_table, with_creation_time
from mlinfra.features.group import CREATED_COLUMN, DEFAULT_TIME_COLUMN, TIME_COLUMNS
from mlinfra.features.online.backend import Key
from mlinfra.features.online.group import KeyType
from mlinfra.features.online.packed import FloatMatrix, Int64s
from mlinfra.features.schema import schema_to_names

Named: TypeAlias = "Rows | Mapping[str, Any]"
"""Named features: a frame with a row for each key, or a mapping."""
Values: TypeAlias = "npt.ArrayLike | Named"
"""Numbers, or named features."""
EventTime = Any
"""A moment (datetime, numpy.datetime64, ISO 8601 text), or one for each key."""

EXACT_INTEGERS = 2**53
NUMBER_KINDS = "biuf"


@dataclass(frozen=True, slots=True)
class Given:
    """Rows to write.

    Attributes:
        types: name and type of each feature.
        content: numbers, shape (rows, features), or a table of the features.
        event: event times in nanoseconds since 1970, shape (rows,); None where nobody told them.
        created: creation times, likewise.
    """

    types: dict[str, str]
    content: FloatMatrix | pa.Table
    event: Int64s | None
    created: Int64s | None

    def picked(self, rows: npt.NDArray[np.intp]) -> "Given":
        """Only some of the rows."""
        content = (
            self.content.take(pa.array(rows)) if isinstance(self.content, pa.Table) else self.content[rows]
        )
        event = None if self.event is None else self.event[rows]
        return Given(self.types, content, event, None if self.created is None else self.created[rows])


def is_named(values: Any) -> TypeGuard[Named]:
    """Whether the values are features by name, not bare numbers."""
    if isinstance(values, (pd.DataFrame, Mapping, pa.RecordBatchReader)):
        return True
    return hasattr(values, "__arrow_c_stream__") and hasattr(values, "columns")


def listed_keys(keys: Key | Sequence[Key]) -> list[Key]:
    """One key or several as a list."""
    if isinstance(keys, (pa.Array, pa.ChunkedArray)):
        listed: list[Key] = keys.to_pylist()
        return listed
    return [keys] if isinstance(keys, (str, int, np.integer)) else list(keys)


def key_type(keys: Sequence[Key]) -> KeyType:
    """The type of the keys.

    Raises:
        InvalidFeatures: there are none, or they are not all texts or all integers.
    """
    if not keys:
        raise InvalidFeatures("no entity key is given; give one, or several with a row of values each")
    if all(isinstance(key, str) for key in keys):
        return "text"
    wrong = next(
        (key for key in keys if isinstance(key, bool) or not isinstance(key, (int, np.integer))), None
    )
    if wrong is not None:
        raise InvalidFeatures(
            f"entity key {wrong!r} is a {type(wrong).__name__}; keys are all texts, or all integers"
        )
    return "integer"


def given_numbers(
    values: npt.ArrayLike, features: Sequence[str] | None, keys: Sequence[Key], event_timestamp: EventTime
) -> Given:
    """Numbers for each key; without names the features are called ``0``, ``1``, and so on.

    Raises:
        InvalidFeatures: the shape does not fit, or a value is no finite number.
    """
    array = np.asarray(values)
    if array.dtype.kind not in NUMBER_KINDS:
        raise InvalidFeatures(
            f"values are of type {array.dtype}, not numbers; give texts and times as a DataFrame"
        )
    matrix = np.atleast_2d(array)
    columns = matrix.shape[1] if features is None else len(features)
    if array.ndim not in (1, 2) or matrix.shape != (len(keys), columns) or not columns:
        expected = f"({len(keys)}, {'features' if features is None else columns})"
        raise InvalidFeatures(
            f"values have the shape {array.shape}, and the keys and features need {expected}"
        )
    names = [str(number) for number in range(columns)] if features is None else list(features)
    numbers = matrix.astype(np.float64)
    _check_numbers(matrix, numbers, names, keys)
    return Given(dict.fromkeys(names, "double"), numbers, _event_times(event_timestamp, len(keys)), None)


def given_frame(values: Named, keys: Sequence[Key], event_timestamp: EventTime, *, group: str) -> Given:
    """Named features for each key, with their times if these are among the columns.

    Raises:
        InvalidFeatures: a column cannot be stored, or the rows are not as many as the keys.
    """
    frame = _frame(values, keys, group=group)
    if len(frame) != len(keys):
        raise InvalidFeatures(
            f"{len(frame)} rows of values are given for {len(keys)} keys; give one row a key"
        )
    names = frame.column_names if isinstance(frame, pa.Table) else list(frame.columns)
    timed = next((name for name in TIME_COLUMNS if name in names), None)
    if timed and event_timestamp is not None:
        raise InvalidFeatures(f"event_timestamp is given twice: as an argument, and as the column {timed!r}")
    table, time_column = to_table(frame if timed else _with_any_time(frame), group=group)
    event = nanoseconds(table, time_column) if timed else _event_times(event_timestamp, len(keys))
    created = None
    if CREATED_COLUMN in table.column_names:
        created = nanoseconds(with_creation_time(table, pd.Timestamp(0, tz="UTC")), CREATED_COLUMN)
    features = table.select(
        [name for name in table.column_names if name not in (time_column, CREATED_COLUMN)]
    )
    return given_table(features, event, created, group=group)


def given_table(features: pa.Table, event: Int64s | None, created: Int64s | None, *, group: str) -> Given:
    """Columns in types of the store.

    Raises:
        InvalidFeatures: there is no column, or one holds only nulls.
    """
    if not features.num_columns:
        raise InvalidFeatures(f"nothing to write to feature group {group!r}: no features are given")
    return Given(schema_to_names(features.schema), features, event, created)


def _with_any_time(frame: pd.DataFrame | pa.Table) -> pd.DataFrame | pa.Table:
    """What checks the columns wants a time; nobody reads this one."""
    moment = pd.Timestamp(0, tz="UTC")
    if isinstance(frame, pd.DataFrame):
        return frame.assign(**{DEFAULT_TIME_COLUMN: moment})
    return frame.append_column(DEFAULT_TIME_COLUMN, pa.repeat(pa.scalar(moment, CREATED_TYPE), len(frame)))


def _frame(values: Named, keys: Sequence[Key], *, group: str) -> pd.DataFrame | pa.Table:
    if isinstance(values, Mapping):
        one_row = len(keys) == 1 and not any(np.ndim(each) for each in values.values())
        return pd.DataFrame([dict(values)] if one_row else dict(values))
    if not isinstance(values, pd.DataFrame):
        return arrow_table(values, group=group)
    if isinstance(values.index, pd.DatetimeIndex) and not set(TIME_COLUMNS) & set(values.columns):
        return values.rename_axis(index=DEFAULT_TIME_COLUMN).reset_index()
    return values.reset_index(drop=True)


def _event_times(event_timestamp: EventTime, rows: int) -> Int64s | None:
    if event_timestamp is None:
        return None
    try:
        several = pd.api.types.is_list_like(event_timestamp)
        listed = list(event_timestamp) if several else [event_timestamp] * rows
        times = pd.DatetimeIndex(pd.to_datetime(listed, utc=True, format="ISO8601")).as_unit("ns")
    except (ValueError, TypeError) as error:
        raise InvalidFeatures(f"event_timestamp cannot be read as time: {error}") from error
    if times.hasnans or len(times) != rows:
        found = "has a row without a time" if times.hasnans else f"has {len(times)} times for {rows} keys"
        raise InvalidFeatures(f"event_timestamp {found}; give one moment, or one for each key")
    return np.array(times.asi8)


def nanoseconds(table: pa.Table, name: str) -> Int64s:
    """A column of times as nanoseconds since 1970, shape (rows,).

    Raises:
        InvalidFeatures: a time is too early or too late for that.
    """
    column = table.column(name)
    try:
        nanoseconds = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise InvalidFeatures(
            f"column {name!r} holds a time that nanoseconds cannot count (1677 to 2262): {error}"
        ) from error
    return np.array(nanoseconds.to_numpy())


def _check_numbers(
    given: npt.NDArray[Any], numbers: FloatMatrix, names: Sequence[str], keys: Sequence[Key]
) -> None:
    wrong = np.isinf(numbers)
    if given.dtype.kind in "iu":
        wrong = (numbers > EXACT_INTEGERS) | (numbers < -EXACT_INTEGERS)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InvalidFeatures(
            f"feature {names[column]!r} of entity {keys[row]!r} is {given[row, column]}, which cannot be "
            "stored in float64; give infinite values as NaN, and integers beyond 2**53 as a DataFrame"
        )
