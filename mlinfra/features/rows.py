"""Order and newness of rows, on Arrow tables."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlinfra.features.group import CREATED_COLUMN, FeatureGroup


def sorted_rows(table: pa.Table, group: FeatureGroup) -> pa.Table:
    """By event time, then entity, then creation; rows that tie keep their order."""
    names = (group.time_column, group.entity_column, CREATED_COLUMN)
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names])
    return table.take(order).combine_chunks()


def last_of_key(table: pa.Table, group: FeatureGroup) -> npt.NDArray[np.bool_]:
    """Which rows of a sorted table are the newest of their entity and event time, shape (rows,)."""
    last = np.ones(len(table), dtype=np.bool_)
    if len(table) > 1:
        same_time = _equals_next(table, group.time_column)
        last[:-1] = ~(same_time & _equals_next(table, group.entity_column))
    return last


def times_of(table: pa.Table, time_column: str) -> npt.NDArray[np.datetime64[Any]]:
    """Event times in UTC, shape (rows,)."""
    times: npt.NDArray[np.datetime64[Any]] = table.column(time_column).to_numpy()
    return times


def _equals_next(table: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    column = table.column(name).combine_chunks()
    equal: npt.NDArray[np.bool_] = pc.equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return equal
