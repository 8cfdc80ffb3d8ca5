"""The newest rows of a feature group that a check looks at: from when on to read them, and their windows.

A window of rows has the newest ones, the one before it those before; one of seconds begins at a multiple of
its length since 1970, and has come to its end at the time of the check.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mlinfra.errors import InvalidInputError
from mlinfra.features.group_files import GroupFiles
from mlinfra.features.timerange import NANOSECONDS, TimeRange
from mlinfra.monitoring.chunks import DEFAULT_WINDOW, moment, nanoseconds
from mlinfra.monitoring.coarsening import SECOND
from mlinfra.monitoring.monitor import labels_waited_for
from mlinfra.resources.monitoring import MonitoringWindow, WindowedCheck
from mlinfra.retraining.windows import LOOK_BACK, windows_looked_at
from mlinfra.serving.log_rows import is_log, rows_with_features
from mlinfra.serving.windows import Int64s

MAX_ROWS = 200_000
"""That one check has the model answer: a server's memory is for requests."""
MAX_SCANNED = 5_000_000
"""Rows of which one check reads the event time."""


class TooManyRowsError(InvalidInputError):
    """A check would read more rows of a group than a server does."""

    reason: ClassVar[str] = "TooManyRows"


@dataclass(frozen=True, slots=True)
class NewestRows:
    """What to read of a group.

    Attributes:
        files: with the rows to read: those of the windows, and those before them that the model reads too.
        first: from when on rows are of a window, nanoseconds since 1970 in UTC.
        now: the time of the check.
    """

    files: GroupFiles
    first: int
    now: datetime


@dataclass(frozen=True, slots=True)
class _Keys:
    """Event times, rising, and entities of a group's rows from ``start`` on; of all where that is None.

    Of a prediction log those count that have the features: the model can answer no others.
    """

    times: Int64s
    entities: pa.ChunkedArray
    start: int | None


def newest_rows(
    files: GroupFiles,
    policies: Sequence[WindowedCheck],
    features: Sequence[str],
    *,
    window: int,
    now: datetime | None,
) -> NewestRows | None:
    """Which rows of a group policies look at; None where it has none that the model can answer.

    Args:
        files: all of the group's.
        policies: what is watched.
        features: columns that the model reads.
        window: rows of an entity that the model reads at once.
        now: the time of the check; that of the newest row where None.

    Raises:
        TooManyRowsError: they are more than `MAX_ROWS`.
        CorruptFeatures, FeatureStoreUnavailable: they cannot be read.
    """
    if not files.rows:
        return None
    unit = NANOSECONDS[files.group.time_type.unit]
    newest = max(_number(each.last_event, files) for each in files.files) * unit
    time = now or moment(newest)
    windows = [(policy.window or DEFAULT_WINDOW, windows_kept(policy)) for policy in policies]
    rows = max((each.rows * count for each, count in windows if each.rows is not None), default=1)
    keys = _keys(files, features, rows, _since(windows, nanoseconds(time)))
    if not len(keys.times):
        return None
    firsts = [_first(keys, each, count, time) for each, count in windows]
    first = min((each for each in firsts if each is not None), default=int(keys.times[-1]))
    place = int(np.searchsorted(keys.times, first))
    if window > 1:
        entities = len(keys.entities[place:].unique())
        wanted = len(keys.times) - place + (window - 1) * entities
        if wanted > len(keys.times) and keys.start is not None:
            keys = _keys(files, features, wanted, None)
        place = max(0, len(keys.times) - wanted)
    place = int(np.searchsorted(keys.times, keys.times[place]))
    read = len(keys.times) - place
    if read > MAX_ROWS:
        raise TooManyRowsError(
            f"the windows of this check have {read:,} rows of feature group {files.group.name!r}, and "
            f"{MAX_ROWS:,} are read: choose smaller windows, or fewer of them"
        )
    start = np.datetime64(int(keys.times[place]) // unit, files.group.time_type.unit)
    return NewestRows(files.within(TimeRange(start, None, files.group.time_type)), first, time)


def windows_kept(policy: WindowedCheck) -> int:
    """How many of the newest windows a policy may look at: labels may have come of older ones alone."""
    return windows_looked_at(policy) * (LOOK_BACK if labels_waited_for(policy) else 1)


def window_borders(
    times: Int64s, window: MonitoringWindow, count: int, now: datetime, *, start: int | None = None
) -> list[tuple[int, int]]:
    """First row, and the one after the last, of the newest windows, in the order of time.

    Args:
        times: event time of each row, rising, nanoseconds since 1970 in UTC.
        window: how long one is.
        count: how many at most.
        now: the time of the check.
        start: from when on the rows are all there; all are where None.
    """
    if window.seconds is None:
        size, rows = int(window.rows or 1), len(times)
        whole = min(count, rows // size)
        return [(rows - (back + 1) * size, rows - back * size) for back in reversed(range(whole))]
    length = window.seconds * SECOND
    numbers = times // length
    ended = int(np.searchsorted(numbers, nanoseconds(now) // length))
    borders = [0, *(np.flatnonzero(np.diff(numbers[:ended])) + 1).tolist(), ended] if ended else []
    known = [pair for pair in pairwise(borders) if start is None or numbers[pair[0]] * length >= start]
    return known[-count:]


def _first(keys: _Keys, window: MonitoringWindow, count: int, now: datetime) -> int | None:
    """From when on rows are of the newest windows; None where there is no whole one."""
    borders = window_borders(keys.times, window, count, now, start=keys.start)
    if not borders:
        return None
    first = int(keys.times[borders[0][0]])
    return first if window.seconds is None else first // (window.seconds * SECOND) * window.seconds * SECOND


def _since(windows: Sequence[tuple[MonitoringWindow, int]], now: int) -> int | None:
    """From when on the event times are looked at for windows of seconds; some of them may have no rows."""
    lengths = [(each.seconds * SECOND, count) for each, count in windows if each.seconds is not None]
    return min(((now // length - LOOK_BACK * count) * length for length, count in lengths), default=None)


def _keys(files: GroupFiles, features: Sequence[str], rows: int, since: int | None) -> _Keys:
    """At least so many of the newest rows, and all from a time on."""
    group, unit = files.group, NANOSECONDS[files.group.time_type.unit]
    # Of rows that were written again only the newest count, and of a log those with features: more files are
    # then needed.
    wanted = rows
    while True:
        start = _start(files, wanted, None if since is None else since // unit)
        period = TimeRange(
            None if start is None else np.datetime64(start, group.time_type.unit), None, group.time_type
        )
        chosen = files.within(period)
        if chosen.rows > MAX_SCANNED:
            remedy = "log a larger share with features" if is_log(group) else "partition the group by day"
            raise TooManyRowsError(
                f"the newest files of feature group {group.name!r} have {chosen.rows:,} rows, and "
                f"{MAX_SCANNED:,} are looked at: choose smaller windows, or {remedy}"
            )
        keys = [group.entity_column, group.time_column]
        table = _logged_keys(chosen, keys, features) if is_log(group) else chosen.read(keys)
        if start is None or len(table) >= rows:
            times = table.column(group.time_column).cast(pa.int64()).to_numpy() * unit
            whole_from = None if start is None else start * unit
            return _Keys(times, table.column(group.entity_column), whole_from)
        wanted = 2 * max(wanted, 1)


def _logged_keys(files: GroupFiles, keys: Sequence[str], features: Sequence[str]) -> pa.Table:
    """Keys of a log's rows with features, in order of time: read batch by batch, as most may have none."""
    wanted = files.period.expression(files.group.time_column)
    parts = [pa.schema([files.group.schema.field(name) for name in keys]).empty_table()]
    for _, batch in files.batches([*keys, *features]):
        table = pa.Table.from_batches([batch])
        table = table.filter(pa.array(rows_with_features(table, features))).select(keys)
        parts.append(table if wanted is None else table.filter(wanted))
    # A row that was written twice, after an answer of the storage was lost, counts once.
    return pa.concat_tables(parts).group_by(keys).aggregate([]).sort_by(files.group.time_column)


def _start(files: GroupFiles, rows: int, since: int | None) -> int | None:
    """From when on files have so many rows, in units of the group's time; None where all of them count."""
    held = 0
    start = since if since is not None else int(np.iinfo(np.int64).max)
    for last, first, size in _newest_first(files):
        if held >= rows and (since is None or last < since):
            return start
        held += size
        start = min(start, first)
    return None


def _newest_first(files: GroupFiles) -> Iterator[tuple[int, int, int]]:
    """Last and first event time, and rows, of each file."""
    periods = [
        (_number(each.last_event, files), _number(each.first_event, files), each.rows) for each in files.files
    ]
    yield from sorted(periods, reverse=True)


def _number(event: str, files: GroupFiles) -> int:
    return int(np.datetime64(event, files.group.time_type.unit).astype(np.int64))
