"""Counts over stretches of event time, and the windows that checks look at, made of whole stretches. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.errors import InvalidInputError
from mlinfra.monitoring.coarsening import SECOND, coarsened
from mlinfra.monitoring.counts import Counts
from mlinfra.resources.monitoring import MonitoringWindow

DEFAULT_WINDOW = MonitoringWindow(rows=1000)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WindowTooLongError(InvalidInputError):
    """A window is longer than what is kept can be."""

    reason = "WindowTooLong"


@dataclass(frozen=True, slots=True)
class Chunking:
    """How finely counts are kept.

    Attributes:
        rows: a chunk is closed when it has as many rows.
        most_seconds: event time that no chunk spans when it is made; a multiple of it is its start.
        max_chunks: chunks that are kept; where there are more, older ones are merged.
    """

    rows: int = 50
    most_seconds: int = 3600
    max_chunks: int = 2000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Counts of the rows of a stretch.

    Attributes:
        first, last: event time of its first and last row, nanoseconds since 1970 in UTC.
        start: how many rows this replica counted for the version before.
        counts: of the rows, and of the labels that came for them.
    """

    first: int
    last: int
    start: int
    counts: Counts

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "first": self.first,
            "last": self.last,
            "start": self.start,
            "counts": self.counts.to_wire(),
        }

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any], *, classes: bool) -> "Chunk":
        """What `to_wire` gave; see `Counts.of_wire`."""
        return cls(
            int(wire["first"]),
            int(wire["last"]),
            int(wire["start"]),
            Counts.of_wire(wire["counts"], classes=classes),
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """What one replica counted.

    Attributes:
        chunks: in the order in which they were begun.
        late: labels of rows that other replicas counted, in chunks with the same borders and without rows.
        position: how far the replica had come in what it counts, by names of its own.
    """

    chunks: tuple[Chunk, ...] = ()
    late: tuple[Chunk, ...] = ()
    position: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CountedWindow:
    """Counts of a window.

    Attributes:
        first, last: event time of its first and last row.
        counts: of its rows.
    """

    first: datetime
    last: datetime
    counts: Counts


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows that came together and fit one chunk.

    Attributes:
        first, last: event time of the earliest and the latest, nanoseconds since 1970 in UTC.
        rows: how many.
    """

    first: int
    last: int
    rows: int


def stretches_of(
    chunks: Sequence[Chunk], event_times: NDArray[np.int64], chunking: Chunking
) -> list[Stretch]:
    """Cut rows that came together so that each part fits one chunk: chunks are the same however rows come.

    Args:
        chunks: what there is, in the order in which they were begun.
        event_times: of the rows, nanoseconds since 1970 in UTC, (rows,).
        chunking: when a chunk is closed.
    """
    newest = _stretch(chunks[-1]) if chunks else None
    borders = np.flatnonzero(np.diff(event_times // (chunking.most_seconds * SECOND))) + 1
    times: list[int] = event_times.tolist()
    found = []
    for low, high in pairwise([0, *borders.tolist(), len(times)]):
        while low < high:
            fits = newest is not None and not _closed(newest, times[low], times[low], chunking)
            free = max(1, chunking.rows - newest.rows) if newest is not None and fits else chunking.rows
            own = times[low : min(low + free, high)]
            found.append(Stretch(min(own), max(own), len(own)))
            newest = _joined(newest, found[-1]) if newest is not None and fits else found[-1]
            low += len(own)
    return found


def added(
    chunks: Sequence[Chunk], parts: Iterable[tuple[Stretch, Counts]], chunking: Chunking
) -> tuple[Chunk, ...]:
    """The chunks with more rows, those of each part in the newest one where it is open for them, else in a
    new one.

    Args:
        chunks: in the order in which they were begun.
        parts: of rows that came together, in their order, with their counts.
        chunking: when a chunk is closed.
    """
    found = list(chunks)
    for stretch, counts in parts:
        newest = found[-1] if found else None
        if newest is not None and not _closed(_stretch(newest), stretch.first, stretch.last, chunking):
            joined = _joined(_stretch(newest), stretch)
            found[-1] = Chunk(joined.first, joined.last, newest.start, newest.counts + counts)
        else:
            start = newest.start + newest.counts.rows if newest is not None else 0
            found.append(Chunk(stretch.first, stretch.last, start, counts))
            if len(found) > chunking.max_chunks:
                found = list(coarsened(found, chunking.max_chunks))
    return tuple(found)


def with_labels(chunks: Sequence[Chunk], counts: Counts, borders: Chunk) -> tuple[Chunk, ...]:
    """Chunks of labels alone, with more labels of rows of a chunk that another replica has."""
    place = next(
        (n for n, each in enumerate(chunks) if (each.first, each.last) == (borders.first, borders.last)), None
    )
    if place is None:
        return (*chunks, Chunk(borders.first, borders.last, 0, counts))
    joined = replace(chunks[place], counts=chunks[place].counts + counts)
    return (*chunks[:place], joined, *chunks[place + 1 :])


def chunk_at(chunks: Sequence[Chunk], time: int) -> int | None:
    """Place of the chunk that holds a row of that event time; None where there is none any more."""
    holding = [place for place, each in enumerate(chunks) if each.first <= time <= each.last]
    return holding[-1] if holding else None


def whole_windows(
    replicas: Iterable[Sequence[Chunk]],
    window: MonitoringWindow | None,
    *,
    now: datetime,
    newest: int | None = None,
    labelled: int = 0,
) -> list[CountedWindow]:
    """The windows that have come to their end, in the order of time.

    Windows of rows follow one another from the first row on; those of seconds begin at multiples of their
    length since 1970. A chunk belongs to the window that it begins in, so a window never is finer than its
    chunks. One that may lack rows, as a replica no longer keeps them, is left out.

    Args:
        replicas: chunks of each replica of one version, in the order in which they were begun.
        window: how long one is.
        now: in event time; a window of seconds has come to its end by then.
        newest: how many of them, the newest ones, at least 1; all where None.
        labelled: where a window has as many labels, those after it wait for theirs and are left out.

    Raises:
        WindowTooLongError: rows were forgotten, and those that are kept are fewer than a window has.
    """
    window = window or DEFAULT_WINDOW
    each_replica = [chunks for chunks in replicas if chunks]
    chunks = sorted((each for chunks in each_replica for each in chunks), key=lambda each: each.first)
    if not chunks:
        return []
    forgetful = [own[0] for own in each_replica if own[0].start > 0]
    forgotten, since = (
        sum(each.start for each in forgetful),
        max((each.first for each in forgetful), default=0),
    )
    if window.seconds is not None:
        length = window.seconds * SECOND
        numbers = np.array([each.first for each in chunks]) // length
        end = nanoseconds(now) // length
        least = since // length + 1 if forgetful else numbers[0]
    else:
        size = int(window.rows or 1)
        seen = forgotten + np.cumsum([0, *(each.counts.rows for each in chunks)])
        numbers, end = seen[:-1] // size, seen[-1] // size
        least = -(-forgotten // size)
    # Numbers never fall: the chunks of a window follow one another.
    borders = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(chunks)]
    whole = [
        chunks[low:high]
        for low, high in pairwise(borders)
        if least <= numbers[low] < end and (not forgetful or chunks[low].first >= since)
    ]
    if not whole and forgetful:
        _check_that_it_fits(window, chunks, since)
    if labelled:
        enough = [sum(each.counts.labelled for each in own) >= labelled for own in whole]
        whole = whole[: len(whole) - enough[::-1].index(True)] if True in enough else whole
    return [_window(each) for each in (whole if newest is None else whole[-newest:])]


def nanoseconds(time: datetime) -> int:
    """Since 1970 in UTC."""
    return (time - EPOCH) // timedelta(microseconds=1) * 1000


def moment(time: int) -> datetime:
    """Of nanoseconds since 1970."""
    return EPOCH + timedelta(microseconds=time // 1000)


def _closed(newest: Stretch, first: int, last: int, chunking: Chunking) -> bool:
    longest = chunking.most_seconds * SECOND
    full = newest.rows >= chunking.rows
    return full or {newest.first // longest, newest.last // longest} != {first // longest, last // longest}


def _stretch(chunk: Chunk) -> Stretch:
    return Stretch(chunk.first, chunk.last, chunk.counts.rows)


def _joined(one: Stretch, other: Stretch) -> Stretch:
    return Stretch(min(one.first, other.first), max(one.last, other.last), one.rows + other.rows)


def _check_that_it_fits(window: MonitoringWindow, chunks: Sequence[Chunk], since: int) -> None:
    kept = f"predictions are kept from {moment(since):%Y-%m-%d %H:%M} on"
    if window.rows is not None:
        rows = sum(each.counts.rows for each in chunks if each.first >= since)
        if rows < window.rows:
            raise WindowTooLongError(
                f"window.rows: {kept}, {rows:,} of them, and no window of {window.rows:,} fits: choose a "
                "shorter one"
            )
    elif window.seconds is not None:
        seconds = (max(each.last for each in chunks) - since) // SECOND
        if seconds < window.seconds:
            raise WindowTooLongError(
                f"window.seconds: {kept}, {seconds:,} s, and no window of {window.seconds:,} s fits: choose "
                "a shorter one"
            )


def _window(chunks: Sequence[Chunk]) -> CountedWindow:
    counts = reduce(add, (each.counts for each in chunks))
    first, last = min(each.first for each in chunks), max(each.last for each in chunks)
    return CountedWindow(moment(first), moment(last), counts)
