"""Counts over stretches of event time, and the windows that checks look at, made of whole stretches. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from mlinfra.monitoring.counts import Counts
from mlinfra.resources.monitoring import MonitoringWindow

DEFAULT_WINDOW = MonitoringWindow(rows=1000)
SECOND = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Chunking:
    """How finely counts are kept; the newest ``max_chunks`` of a version are.

    Attributes:
        rows: a chunk is closed when it has as many rows,
        least_seconds: and spans as much event time, so that heavy traffic does not push out the past.
        most_seconds: event time that no chunk spans; a multiple of it is its start.
        max_chunks: chunks that are kept.
    """

    rows: int = 50
    least_seconds: int = 0
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
class CountedWindow:
    """Counts of a window.

    Attributes:
        first, last: event time of its first and last row.
        counts: of its rows.
    """

    first: datetime
    last: datetime
    counts: Counts


def added(
    chunks: Sequence[Chunk], counts: Counts, first: int, last: int, chunking: Chunking
) -> tuple[Chunk, ...]:
    """The chunks with more rows, in the newest one where it is open for them, else in a new one.

    Args:
        chunks: in the order in which they were begun.
        counts: of rows that came together.
        first, last: their event times.
        chunking: when a chunk is closed.
    """
    newest = chunks[-1] if chunks else None
    if newest is not None and not _closed(newest, first, last, chunking):
        joined = replace(
            newest,
            first=min(newest.first, first),
            last=max(newest.last, last),
            counts=newest.counts + counts,
        )
        return (*chunks[:-1], joined)
    start = newest.start + newest.counts.rows if newest is not None else 0
    return (*chunks, Chunk(first, last, start, counts))[-chunking.max_chunks :]


def free_rows(chunks: Sequence[Chunk], time: int, chunking: Chunking) -> int:
    """Rows of an event time that still fit their chunk: chunks are the same however rows come together."""
    newest = chunks[-1] if chunks else None
    if newest is None or _closed(newest, time, time, chunking):
        return chunking.rows
    return max(1, chunking.rows - newest.counts.rows)


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
) -> list[CountedWindow]:
    """The windows that have come to their end, in the order of time.

    Windows of rows follow one another from the first row on; those of seconds begin at multiples of their
    length since 1970. A chunk belongs to the window that it begins in, so a window never is finer than its
    chunks. The oldest one may lack rows that are no longer kept, and is left out then.

    Args:
        replicas: chunks of each replica of one version, in the order in which they were begun.
        window: how long one is.
        now: in event time; a window of seconds has come to its end by then.
        newest: how many of them, the newest ones, at least 1; all where None.
    """
    window = window or DEFAULT_WINDOW
    each_replica = list(replicas)
    chunks = sorted((each for chunks in each_replica for each in chunks), key=lambda each: each.first)
    if not chunks:
        return []
    if window.seconds is not None:
        length = window.seconds * SECOND
        numbered = [(each.first // length, each) for each in chunks]
        end = nanoseconds(now) // length
        partly = {chunks[0].first // length} if _forgot(each_replica) else set()
    else:
        size = int(window.rows or 1)
        numbered, seen = [], sum(replica[0].start for replica in each_replica if replica)
        partly = {seen // size} if seen % size else set()
        for each in chunks:
            numbered.append((seen // size, each))
            seen += each.counts.rows
        end = seen // size
    whole = [
        [each for _, each in group]
        for number, group in groupby(sorted(numbered, key=lambda pair: pair[0]), key=lambda pair: pair[0])
        if number < end and number not in partly
    ]
    return [_window(each) for each in (whole if newest is None else whole[-newest:])]


def nanoseconds(time: datetime) -> int:
    """Since 1970 in UTC."""
    return (time - EPOCH) // timedelta(microseconds=1) * 1000


def moment(time: int) -> datetime:
    """Of nanoseconds since 1970."""
    return EPOCH + timedelta(microseconds=time // 1000)


def _closed(chunk: Chunk, first: int, last: int, chunking: Chunking) -> bool:
    longest = chunking.most_seconds * SECOND
    spans = chunk.last - chunk.first >= chunking.least_seconds * SECOND
    full = chunk.counts.rows >= chunking.rows and spans
    return full or {chunk.first // longest, chunk.last // longest} != {first // longest, last // longest}


def _forgot(replicas: Iterable[Sequence[Chunk]]) -> bool:
    return any(chunks[0].start > 0 for chunks in replicas if chunks)


def _window(chunks: Sequence[Chunk]) -> CountedWindow:
    counts = chunks[0].counts
    for each in chunks[1:]:
        counts = counts + each.counts
    return CountedWindow(
        moment(min(each.first for each in chunks)), moment(max(each.last for each in chunks)), counts
    )
