"""The event times of a file of one's own: which column tells them, as instants in UTC, however written."""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mlinfra.errors import suggestion
from mlinfra.features.data_file import DataFile
from mlinfra.features.errors import InvalidFeatures
from mlinfra.features.group import DEFAULT_TIME_COLUMN, PARTITION_COLUMN, TIME_COLUMNS

CLOCK_WITH_ZONE = r"[0-9]:[0-9]{2}.*(?:[Zz]|[+-][0-9]{2}:?[0-9]{2}|[+-][0-9]{2})$"
UNITS = {
    "s": ("seconds", 1),
    "ms": ("milliseconds", 10**3),
    "us": ("microseconds", 10**6),
    "ns": ("nanoseconds", 10**9),
}
FIRST_SECOND, LAST_SECOND = 946_684_800, 4_102_444_800
"""2000 and 2100: in this span a number tells of itself in which unit it counts from 1970."""
REMEDY = "write times as ISO 8601, such as 2024-03-17 09:30:00 or 2024-03-17T09:30:00Z"


def time_column_of(file: DataFile, timestamp: str | None) -> str:
    """The column of a file that tells the event time.

    Args:
        file: the file.
        timestamp: its name, if a person said it.

    Raises:
        InvalidFeatures: it is not there, or cannot be told; the message names the columns.
    """
    names: list[str] = file.table.column_names
    if timestamp is not None:
        if timestamp not in names:
            raise InvalidFeatures(
                f"{file.path} has no column {timestamp!r} for the event time; {suggestion(timestamp, names)}"
            )
        return timestamp
    usual = next((name for name in TIME_COLUMNS if name in names), None)
    if usual is not None:
        return usual
    of_times = [name for name in names if pa.types.is_timestamp(file.table.column(name).type)]
    if len(of_times) == 1:
        return of_times[0]
    found = f"the columns {', '.join(of_times)} all do" if of_times else "no column does by its type"
    raise InvalidFeatures(
        f"{file.path}: which column tells the event time? {found}; name it with --timestamp (timestamp=). "
        f"The columns are: {', '.join(names)}"
    )


def with_times(file: DataFile, time_from: str, instants: pa.Array) -> tuple[pa.Table, str]:
    """The table with its event times under a name that the store knows, and that name.

    Raises:
        InvalidFeatures: another column has a name that the store keeps for itself.
    """
    time_column = time_from if time_from in TIME_COLUMNS else DEFAULT_TIME_COLUMN
    position = file.table.column_names.index(time_from)
    table = file.table.remove_column(position)
    for name in (*TIME_COLUMNS, PARTITION_COLUMN):
        if name in table.column_names:
            raise InvalidFeatures(
                f"{file.path}: column {name!r} has a name that the store keeps for itself, and "
                f"{time_from!r} is the event time; rename or drop it"
            )
    return table.add_column(0, time_column, instants), time_column


def event_times(column: pa.ChunkedArray, where: str) -> tuple[pa.Array, str | None]:
    """Instants in UTC, and how they were read where the values themselves do not say.

    Times with a zone become UTC; without one they count as UTC, as everywhere in the store. Numbers count
    from 1970, in the unit that puts all of them between 2000 and 2100.

    Args:
        column: times, dates, ISO 8601 texts, or numbers.
        where: file and column, the beginning of an error message.

    Raises:
        InvalidFeatures: a value is missing or is no time, or only some have a zone; the message tells the
            first such row, counted from 1.
    """
    if column.null_count:
        row = pc.index(pc.is_null(column), pa.scalar(True)).as_py() + 1
        raise InvalidFeatures(
            f"{where} has no time in {column.null_count} of {len(column)} rows, first in row {row}; drop them"
        )
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    elif pa.types.is_large_string(column.type):
        column = column.cast(pa.string())
    if pa.types.is_timestamp(column.type):
        return _in_utc(column), None
    if pa.types.is_integer(column.type):
        return _counted(column, where)
    if pa.types.is_string(column.type):
        numbers = pc.all(pc.match_substring_regex(column, r"^-?[0-9]{9,19}$")).as_py()
        return _counted(column.cast(pa.int64()), where) if numbers else (_parsed(column, where), None)
    raise InvalidFeatures(f"{where} holds {column.type}, not times; {REMEDY}")


def _in_utc(column: pa.ChunkedArray) -> pa.Array:
    # A zone only says how an instant is shown; without one it counts as UTC.
    return column.combine_chunks().cast(pa.timestamp(column.type.unit, "UTC"))


def _counted(column: pa.ChunkedArray, where: str) -> tuple[pa.Array, str]:
    bounds = pc.min_max(column).as_py()
    for unit, (name, size) in UNITS.items():
        if FIRST_SECOND * size <= bounds["min"] and bounds["max"] < LAST_SECOND * size:
            instants = column.combine_chunks().cast(pa.int64()).cast(pa.timestamp(unit, "UTC"))
            return instants, f"read as {name} since 1970 in UTC"
    raise InvalidFeatures(
        f"{where} holds numbers from {bounds['min']} to {bounds['max']}, which are no times since 1970 "
        f"in any one unit; {REMEDY}"
    )


def _parsed(column: pa.ChunkedArray, where: str) -> pa.Array:
    texts: pd.Series[str] = column.to_pandas().str.strip()
    parsed = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    wrong = parsed.isna().to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidFeatures(
            f"{where} holds {texts.iloc[row]!r} in row {row + 1}, which is no time ({wrong.sum()} of "
            f"{len(texts)} rows); {REMEDY}"
        )
    zoned = pc.match_substring_regex(column, CLOCK_WITH_ZONE).to_numpy()
    if zoned.any() and not zoned.all():
        row = int((zoned != zoned[0]).argmax())
        first, other = ("a", "no") if zoned[0] else ("no", "a")
        raise InvalidFeatures(
            f"{where} has {first} time zone in row 1 ({texts.iloc[0]}) and {other} time zone in row "
            f"{row + 1} ({texts.iloc[row]}); give all of them one, or none"
        )
    plain = parsed.dt.tz_localize(None)
    instants = pa.Array.from_pandas(plain)
    return instants.cast(pa.timestamp(instants.type.unit, "UTC"))
