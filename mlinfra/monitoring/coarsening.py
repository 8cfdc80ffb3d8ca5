"""Merges chunks of long ago: their number is bounded, and what is older is kept more coarsely. Pure.

A chunk is merged with the next one in time while the two together have at most a share of the rows that came
after them, and lie in one cell of a grid of time that is as fine for their age. Cells nest, and none spans a
border of days in UTC: windows of whole days, and of whole hours of the last days, are what they would be
without merging.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlinfra.monitoring.chunks import Chunk

SECOND = 1_000_000_000
CELL_SECONDS = (60, 300, 900, 3600, 21_600, 86_400)
"""Lengths of the grid's cells, each a multiple of the one before."""
FINENESS = (64, 32, 16, 8, 4, 2, 1)
"""A merged chunk has at most one so-many-th of the rows after it; the first one that suffices is taken."""


def coarsened(chunks: Sequence["Chunk"], most: int) -> tuple["Chunk", ...]:
    """As many chunks at most, with the same rows and labels, in the order of time but for the newest one.

    Where there are too many, so much is merged that it need not be done again soon. Only what cannot be
    merged any further, such as more days than there may be chunks, is forgotten, the oldest first.

    Args:
        chunks: in the order in which they were begun; the newest one is still open and stays as it is.
        most: at least 1.
    """
    if len(chunks) <= most:
        return tuple(chunks)
    *closed, newest = chunks
    closed.sort(key=lambda each: each.first)
    forgotten = chunks[0].start
    # The newest one is one of those that there may be.
    free = max(most * 3 // 4, 1) - 1
    merged = closed
    for fineness in FINENESS:
        merged = [_joined(run) for run in _runs(closed, fineness)][::-1]
        if len(merged) <= free:
            break
    beyond = max(len(merged) - free, 0)
    forgotten += sum(each.counts.rows for each in merged[:beyond])
    return tuple(following(forgotten, [*merged[beyond:], newest]))


def following(forgotten: int, chunks: Sequence["Chunk"]) -> Iterator["Chunk"]:
    """The chunks, each told how many rows there were before it; those that know it stay the same objects."""
    before = forgotten
    for each in chunks:
        yield each if each.start == before else replace(each, start=before)
        before += each.counts.rows


def _runs(chunks: Sequence["Chunk"], fineness: int) -> Iterator[list["Chunk"]]:
    """Neighbours that become one chunk; the newest first, each in the order of time."""
    end = max((each.last for each in chunks), default=0)
    after = rows = cell = 0
    run: list[Chunk] = []
    for chunk in reversed(chunks):
        more = rows + chunk.counts.rows
        if run and more * fineness <= after and _in_one_cell(chunk, run[0], cell):
            run.insert(0, chunk)
            rows = more
            continue
        if run:
            yield run
        after += rows
        run, rows = [chunk], chunk.counts.rows
        cell = _cell(end - chunk.last, fineness)
    if run:
        yield run


def _cell(age: int, fineness: int) -> int:
    """Length of the longest cell that is short beside an age, in nanoseconds; the shortest where none is."""
    short = [each for each in CELL_SECONDS if each * SECOND * fineness <= age]
    return (short[-1] if short else CELL_SECONDS[0]) * SECOND


def _in_one_cell(chunk: "Chunk", later: "Chunk", cell: int) -> bool:
    number = chunk.first // cell
    return chunk.last // cell == number == later.first // cell == later.last // cell


def _joined(run: Sequence["Chunk"]) -> "Chunk":
    if len(run) == 1:
        return run[0]
    first, last = run[0].first, max(each.last for each in run)
    return replace(run[0], first=first, last=last, counts=reduce(add, (each.counts for each in run)))
