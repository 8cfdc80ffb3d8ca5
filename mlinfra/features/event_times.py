"""The event times of a file of one's own, as instants in UTC, however they are written."""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mlinfra.features.errors import InvalidFeatures

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
