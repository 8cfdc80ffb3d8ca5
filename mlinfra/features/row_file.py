"""Rows to append to a feature group, from a Parquet or CSV file."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mlinfra.features.data_file import read_data_file
from mlinfra.features.event_times import event_times, time_column_of, with_times
from mlinfra.features.group import TIME_COLUMNS, FeatureGroup


@dataclass(frozen=True, slots=True)
class FileRows:
    """What a file holds.

    Attributes:
        table: its rows; the event time is in UTC, under a name that the store knows.
        notices: what a person should know of how the file was read, a line each.
    """

    table: pa.Table
    notices: tuple[str, ...]


def read_row_file(path: Path, timestamp: str | None = None, *, group: FeatureGroup | None = None) -> FileRows:
    """The rows of a file.

    Args:
        path: a Parquet or CSV file; see `mlinfra.features.data_file.read_data_file`.
        timestamp: column of the event time; by default ``event_timestamp``, ``timestamp``, or the one
            column of times.
        group: the group that they are for, where it is there already: its event times may lack a time zone.

    Raises:
        InvalidFeatures: the file cannot be used; the message names file, column and row.
    """
    file = read_data_file(path, as_text=(timestamp,) if timestamp else TIME_COLUMNS)
    time_from = time_column_of(file, timestamp)
    instants, how = event_times(file.table.column(time_from), f"{path}: column {time_from!r}")
    table, name = with_times(file, time_from, instants)
    if group is not None and group.time_type.tz is None:
        plain = instants.cast(pa.timestamp(instants.type.unit))
        table = table.set_column(table.column_names.index(name), name, plain)
    notices = (*file.notices, f"column {time_from} is {how}") if how else file.notices
    return FileRows(table, notices)
