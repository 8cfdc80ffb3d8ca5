"""The period of a read: dates count whole, moments count exactly, both ends are included."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from mlinfra.features.errors import InvalidDateRange

Moment = str | date | datetime
DATE_LENGTH = len("YYYY-MM-DD")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NANOSECONDS = {"ns": 1, "us": 1000, "D": 86_400_000_000_000}
INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From ``start``, included, to ``stop``, left out; None is unbounded.

    Attributes:
        start, stop: moments in UTC, in the unit of ``type``.
        type: type of the event time that they are compared with.
    """

    start: np.datetime64 | None
    stop: np.datetime64 | None
    type: pa.TimestampType

    def overlaps(self, first_event: str, last_event: str) -> bool:
        """Whether any moment from the first to the last event, ISO 8601 in UTC, is in the range."""
        if self.stop is not None and np.datetime64(first_event) >= self.stop:
            return False
        return self.start is None or bool(np.datetime64(last_event) >= self.start)

    def overlapping(self, first_events: Sequence[str], last_events: Sequence[str]) -> npt.NDArray[np.bool_]:
        """`overlaps` of many at once, shape (events,)."""
        chosen, dtype = np.ones(len(first_events), dtype=np.bool_), f"datetime64[{self.type.unit}]"
        if self.stop is not None:
            chosen &= np.array(first_events, dtype=dtype) < self.stop
        if self.start is not None:
            chosen &= np.array(last_events, dtype=dtype) >= self.start
        return chosen

    def contains(self, first_event: str, last_event: str) -> bool:
        """Whether every moment from the first to the last event, ISO 8601 in UTC, is in the range."""
        if self.stop is not None and np.datetime64(last_event) >= self.stop:
            return False
        return self.start is None or bool(np.datetime64(first_event) >= self.start)

    def __and__(self, other: "TimeRange") -> "TimeRange":
        """What is in both, which are of one type."""
        starts = [each.start for each in (self, other) if each.start is not None]
        stops = [each.stop for each in (self, other) if each.stop is not None]
        return TimeRange(max(starts, default=None), min(stops, default=None), self.type)

    def expression(self, column: str) -> ds.Expression | None:
        """The rows of the range, for a scan of a dataset."""
        after = None if self.start is None else ds.field(column) >= self._scalar(self.start)
        before = None if self.stop is None else ds.field(column) < self._scalar(self.stop)
        if after is None or before is None:
            return after if before is None else before
        return after & before

    def _scalar(self, moment: np.datetime64) -> pa.Scalar:
        return pa.scalar(int(moment.astype(np.int64)), pa.int64()).cast(self.type)


def time_range(start: Moment | None, end: Moment | None, time_type: pa.TimestampType) -> TimeRange:
    """The range from ``start`` to ``end``, both included; a date is its whole day in UTC.

    Raises:
        InvalidDateRange: a date cannot be read, or the start is after the end.
    """
    size = NANOSECONDS[time_type.unit]
    first = last = None
    if start is not None:
        first = -(-_nanoseconds(start, "start_date")[0] // size)
    if end is not None:
        last = moment_after(end, "end_date", time_type.unit)
    if first is not None and last is not None and first >= last:
        raise InvalidDateRange(f"start_date {start} is after end_date {end}")
    return TimeRange(_datetime64(first, time_type.unit), _datetime64(last, time_type.unit), time_type)


def moment_after(value: Moment, name: str, unit: Literal["us", "ns"]) -> int:
    """The first moment after ``value``, after all of its day where that is a date, in units since 1970.

    Raises:
        InvalidDateRange: it cannot be read; the message calls it ``name``.
    """
    moment, whole_day = _nanoseconds(value, name)
    size = NANOSECONDS[unit]
    return (moment + NANOSECONDS["D"]) // size if whole_day else moment // size + 1


def _datetime64(number: int | None, unit: Literal["us", "ns"]) -> np.datetime64 | None:
    if number is None:
        return None
    return np.datetime64(min(max(number, -INT64_MAX), INT64_MAX), unit)


def _nanoseconds(value: Moment, name: str) -> tuple[int, bool]:
    """Nanoseconds since 1970 in UTC, and whether the value stands for a whole day."""
    if isinstance(value, str):
        value = _parsed(value.strip(), name)
    if isinstance(value, pd.Timestamp):
        extra, value = value.nanosecond, value.to_pydatetime(warn=False)
    else:
        extra = 0
    if not isinstance(value, datetime):
        return (value.toordinal() - EPOCH.toordinal()) * NANOSECONDS["D"], True
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000 + extra, False


def _parsed(text: str, name: str) -> date:
    try:
        return date.fromisoformat(text) if len(text) == DATE_LENGTH else datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidDateRange(f"{name} {text!r} is no date; write it as YYYY-MM-DD") from error
