"""The rows that features are joined to, in pandas, Arrow or Polars: their keys out, features in."""

import sys
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mlinfra.features.errors import FeatureConflict, InvalidFeatures
from mlinfra.features.frame import decoded, from_pandas
from mlinfra.features.group import TIME_COLUMNS, FeatureGroup
from mlinfra.features.instants import Instants, Unit
from mlinfra.features.parquet_files import to_pandas

Frame = TypeVar("Frame")
"""A pandas DataFrame, pyarrow Table or Polars DataFrame."""


def column_names(frame: Any) -> list[str]:
    """Names of the columns of a frame.

    Raises:
        InvalidFeatures: it is none of the frames that are known, or has a column twice.
    """
    if not isinstance(frame, pd.DataFrame | pa.Table) and not _is_polars(frame):
        raise InvalidFeatures(
            "entity_rows is a pandas DataFrame, a pyarrow Table or a Polars DataFrame (collect a LazyFrame "
            f"first), not {type(frame).__name__}"
        )
    names = frame.column_names if isinstance(frame, pa.Table) else list(frame.columns)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InvalidFeatures(f"entity_rows has the column {twice[0]!r} more than once; rename or drop one")
    return names


def event_times(frame: Any, time_column: str | None) -> Instants:
    """The moment of each row, as of which its features are wanted.

    It is the column that is named, else ``event_timestamp``, else ``timestamp``, else pandas' index of
    times. Without a time zone it counts as UTC.

    Raises:
        InvalidFeatures: there is none, it holds no times, or a row has none.
    """
    names = column_names(frame)
    name = time_column or next((each for each in TIME_COLUMNS if each in names), None)
    if name is not None and name in names:
        return _instants(_column(frame, name), name)
    if time_column is None and isinstance(frame, pd.DataFrame) and isinstance(frame.index, pd.DatetimeIndex):
        return _instants(_from_pandas(frame.index.to_series()), str(frame.index.name or "the index"))
    raise InvalidFeatures(
        f"entity_rows has no column {time_column or ' or '.join(TIME_COLUMNS)!r} with the time of each row; "
        f"name it with time_column=.... The columns are: {', '.join(map(str, names))}"
    )


def entity_keys(frame: Any, group: FeatureGroup) -> pa.Array:
    """The key of each row in the type of a group's entities; null where it has none.

    Raises:
        InvalidFeatures: there is no such column.
        FeatureConflict: its values are of another type: texts against integers.
    """
    name = group.entity_column
    names = column_names(frame)
    if name not in names:
        raise InvalidFeatures(
            f"entity_rows has no column {name!r}, the key of feature group {group.name!r}; rename yours, or "
            f"call reset_index() where it is the index. The columns are: {', '.join(map(str, names))}"
        )
    wanted = group.schema.field(name).type
    keys = _column(frame, name)
    if pa.types.is_null(keys.type) or _same_kind(keys.type, wanted):
        try:
            return keys.cast(wanted)
        except pa.ArrowInvalid as error:
            raise FeatureConflict(
                f"column {name!r} of entity_rows holds a value that is no {wanted}, as the keys of feature "
                f"group {group.name!r} are: {error}"
            ) from error
    cast = "str" if pa.types.is_string(wanted) else str(wanted)
    raise FeatureConflict(
        f"column {name!r} of entity_rows holds {keys.type}, and the keys of feature group {group.name!r} are "
        f"{wanted}; convert it, in pandas with astype({cast!r})"
    )


def with_columns(frame: Frame, features: pa.Table) -> Frame:
    """The frame with features after its own columns; its rows, their order and its index stay."""
    joined: Any
    if isinstance(frame, pd.DataFrame):
        added = to_pandas(features)
        added.index = frame.index
        joined = pd.concat([frame, added], axis=1)
    elif isinstance(frame, pa.Table):
        joined = frame
        for name, column in zip(features.column_names, features.columns, strict=True):
            joined = joined.append_column(name, column)
    else:
        import polars as pl

        joined = cast("pl.DataFrame", frame).hstack(cast("pl.DataFrame", pl.from_arrow(features)))
    return cast("Frame", joined)


def _is_polars(frame: Any) -> bool:
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(frame, polars.DataFrame)


def _column(frame: Any, name: str) -> pa.Array:
    if isinstance(frame, pd.DataFrame):
        return _from_pandas(frame[name])
    column = frame.column(name) if isinstance(frame, pa.Table) else frame.get_column(name).to_arrow()
    column = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    if pa.types.is_dictionary(column.type):
        return decoded(column)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column.combine_chunks()


def _from_pandas(series: "pd.Series[Any]") -> pa.Array:
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    try:
        column = from_pandas(series)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidFeatures(
            f"column {series.name!r} of entity_rows holds values of several types: {error}; convert it to one"
        ) from error
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _instants(column: pa.Array, name: str) -> Instants:
    if not pa.types.is_timestamp(column.type):
        raise InvalidFeatures(
            f"column {name!r} of entity_rows holds {column.type}, not times; convert it, in pandas with "
            "to_datetime"
        )
    if column.null_count:
        first = pc.index(column.is_null(), pa.scalar(True)).as_py()
        raise InvalidFeatures(
            f"column {name!r} of entity_rows has {column.null_count} rows without a time, the first is row "
            f"{first}: no feature can be told as of then; drop them, or give them a time"
        )
    unit: Unit = "ns" if column.type.unit == "ns" else "us"
    try:
        values = column.cast(pa.timestamp(unit, column.type.tz)).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise InvalidFeatures(
            f"column {name!r} of entity_rows has a time that is out of range: {error}"
        ) from error
    return Instants(np.asarray(values), unit)


def _same_kind(given: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_string(wanted):
        return any(
            kind(given) for kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        )
    # pandas turns integers into floats where any is missing.
    return bool(pa.types.is_integer(given) or pa.types.is_floating(given))
