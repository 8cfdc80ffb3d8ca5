"""Older chunks are merged: nothing is lost, their number is bounded, and what is new stays fine."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.monitoring.chunks import Chunk, Chunking, Stretch, added, chunk_at, moment, whole_windows
from mlinfra.monitoring.coarsening import SECOND, coarsened
from mlinfra.monitoring.counts import Counts, cell_layout
from mlinfra.resources.monitoring import MonitoringWindow

HOUR, DAY = 3600, 86_400
STREAMS = st.lists(st.tuples(st.integers(0, 2 * HOUR), st.integers(1, 50)), min_size=1, max_size=150)
"""Seconds since the chunk before, and rows."""


def counts(rows: int, labelled: int = 0) -> Counts:
    cells = np.array([rows], dtype=np.int64)
    label = np.array([labelled], dtype=np.int64)
    return Counts(rows, cell_layout(("x",), (1,)), cells, prediction=cells, label=label, labelled=labelled)


def stream(parts: Sequence[tuple[int, int]]) -> tuple[Chunk, ...]:
    chunks, time, before = [], 0, 0
    for pause, rows in parts:
        time += pause * SECOND
        chunks.append(Chunk(time, time + SECOND, before, counts(rows, rows // 2)))
        before += rows
    return tuple(chunks)


def traffic(seconds: int, rate: int, chunking: Chunking, every: int = 10) -> tuple[Chunk, ...]:
    chunks: tuple[Chunk, ...] = ()
    for time in range(0, seconds, every):
        stretch = Stretch(time * SECOND, (time + every) * SECOND - 1, rate * every)
        chunks = added(chunks, [(stretch, counts(rate * every))], chunking)
    return chunks


@given(STREAMS, st.integers(1, 60))
def test_totals_order_and_bound(parts: list[tuple[int, int]], most: int) -> None:
    chunks = stream(parts)
    found = coarsened(chunks, most)
    assert len(found) <= most
    assert found[-1].counts == chunks[-1].counts
    rows = sum(each.counts.rows for each in found)
    assert found[0].start + rows == sum(rows for _, rows in parts)
    starts = found[0].start + np.cumsum([0, *(each.counts.rows for each in found)])
    assert [each.start for each in found] == starts[:-1].tolist()
    assert all(before.first <= after.first for before, after in pairwise(found))
    if found[0].start == 0:
        assert sum(each.counts.labelled for each in found) == sum(rows // 2 for _, rows in parts)
        # A label finds the counts of its row, wherever that is now.
        assert None not in [chunk_at(found, each.first) for each in chunks]


@given(STREAMS, st.integers(20, 60))
def test_a_merged_chunk_has_a_share_of_the_rows_after_it_and_spans_no_day(
    parts: list[tuple[int, int]], most: int
) -> None:
    chunks = stream(parts)
    before = {(each.first, each.last) for each in chunks}
    total = sum(rows for _, rows in parts)
    for each in coarsened(chunks, most):
        if (each.first, each.last) not in before:
            assert each.counts.rows <= total - each.start - each.counts.rows
            assert each.first // (DAY * SECOND) == each.last // (DAY * SECOND)


def test_few_chunks_stay_as_they_are() -> None:
    chunks = stream([(10, 5)] * 20)
    assert coarsened(chunks, 20) == chunks


def test_days_of_heavy_traffic_are_kept_and_the_newest_rows_stay_fine() -> None:
    chunking = Chunking(max_chunks=400)
    chunks = traffic(5 * DAY, 50, chunking, every=60)
    assert len(chunks) <= 400
    assert chunks[0].start == 0
    days = whole_windows([chunks], MonitoringWindow(seconds=DAY), now=moment(5 * DAY * SECOND))
    assert [each.counts.rows for each in days] == [50 * DAY] * 5
    many = whole_windows([chunks], MonitoringWindow(rows=1_000_000), now=moment(5 * DAY * SECOND), newest=3)
    assert all(abs(each.counts.rows - 1_000_000) < 200_000 for each in many)
    newest = whole_windows([chunks], MonitoringWindow(seconds=60), now=moment(5 * DAY * SECOND), newest=3)
    assert [each.counts.rows for each in newest] == [3000] * 3


def test_years_of_traffic_fit() -> None:
    chunks = traffic(3 * 365 * DAY, 1, Chunking(), every=HOUR)
    assert chunks[0].start == 0
    years = whole_windows(
        [chunks], MonitoringWindow(seconds=365 * DAY), now=moment(3 * 365 * DAY * SECOND), newest=3
    )
    assert [each.counts.rows for each in years] == [365 * DAY] * 3


def test_times_that_go_back_and_forth_are_merged_too() -> None:
    chunks: tuple[Chunk, ...] = ()
    for number in range(2000):
        time = (number + (number % 2) * 30 * DAY) * SECOND
        chunks = added(chunks, [(Stretch(time, time, 1), counts(1))], Chunking(max_chunks=100))
    assert len(chunks) <= 100
    assert chunks[0].start == 0


@settings(max_examples=30)
@given(STREAMS, STREAMS, st.integers(30, 80))
def test_merged_replicas_add_up(one: list[tuple[int, int]], other: list[tuple[int, int]], most: int) -> None:
    fine = [stream(one), stream(other)]
    coarse = [coarsened(each, most) for each in fine]
    if any(each[0].start for each in coarse):
        return
    days = MonitoringWindow(seconds=DAY)
    now = moment(10**9 * SECOND)
    whole, merged = (whole_windows(each, days, now=now) for each in (fine, coarse))
    assert [(each.first, each.counts.rows) for each in merged] == [
        (each.first, each.counts.rows) for each in whole
    ]
