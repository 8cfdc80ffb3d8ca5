"""Checked columns as the bytes of rows, in the columns of their group."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlinfra.features.errors import FeatureConflict
from mlinfra.features.online.group import OnlineGroup, is_number
from mlinfra.features.online.inputs import EXACT_INTEGERS, Given
from mlinfra.features.online.packed import FloatMatrix, Int64s, pack
from mlinfra.features.schema import TYPES_BY_NAME


def encode_rows(given: Given, group: OnlineGroup, *, now: int) -> list[bytes]:
    """The rows as bytes.

    Args:
        given: what to write; its types were found to fit the group.
        group: the group after it grew by them.
        now: stands for times that nobody told, nanoseconds since 1970.

    Raises:
        FeatureConflict: a value does not fit the type of its column.
    """
    rows = len(given.content)
    event = np.full(rows, now) if given.event is None else given.event
    created = np.full(rows, now) if given.created is None else given.created
    names = [name for name in group.columns if name in given.types]
    if isinstance(given.content, pa.Table):
        values, exact = _encode_table(given.content.select(names), group)
        return pack(event, created, values, exact)
    order = list(given.types)
    values = given.content if names == order else given.content[:, [order.index(name) for name in names]]
    return pack(event, created, values, None)


def _encode_table(table: pa.Table, group: OnlineGroup) -> tuple[FloatMatrix, list[dict[int, Any]] | None]:
    values = np.empty((len(table), table.num_columns))
    exact: list[dict[int, Any]] = [{} for _ in range(len(table))]
    for place, name in enumerate(table.column_names):
        column = _cast(table.column(name).combine_chunks(), name, group)
        values[:, place] = _floats(column, group.columns[name])
        for row, value in _exact_values(column, group.columns[name]):
            exact[row][place] = value
    return values, exact if any(exact) else None


def _cast(column: pa.Array, name: str, group: OnlineGroup) -> pa.Array:
    try:
        return column.cast(TYPES_BY_NAME[group.columns[name]])
    except pa.ArrowInvalid as error:
        raise FeatureConflict(
            f"feature {name!r} of feature group {group.name!r} version {group.version!r} is "
            f"{group.columns[name]}, and a value given does not fit: {error}"
        ) from error


def _floats(column: pa.Array, type_name: str) -> Int64s | FloatMatrix:
    """NaN for null, 0 for what only the exact section can hold."""
    if not is_number(type_name):
        return np.where(column.is_null().to_numpy(zero_copy_only=False), np.nan, 0.0)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    numbers = column.cast(pa.float64(), safe=False)
    return np.asarray(numbers.to_numpy(zero_copy_only=False))


def _exact_values(column: pa.Array, type_name: str) -> list[tuple[int, Any]]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    elif type_name in ("int64", "uint64"):
        rounded = pc.greater(column, pa.scalar(EXACT_INTEGERS, column.type))
        if type_name == "int64":
            rounded = pc.or_(rounded, pc.less(column, pa.scalar(-EXACT_INTEGERS, column.type)))
        if not pc.any(rounded).as_py():
            return []
        column = pc.if_else(rounded, column, None)
    elif is_number(type_name):
        return []
    return [(row, value) for row, value in enumerate(column.to_pylist()) if value is not None]
