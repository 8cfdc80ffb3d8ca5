"""Chunks of event time, and the windows made of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.monitoring.chunks import (
    Chunk,
    Chunking,
    CountedWindow,
    Stretch,
    WindowTooLongError,
    added,
    chunk_at,
    moment,
    nanoseconds,
    stretches_of,
    whole_windows,
)
from mlinfra.monitoring.coarsening import SECOND
from mlinfra.monitoring.counts import Counts, cell_layout
from mlinfra.resources.monitoring import MonitoringWindow

HOUR = 3600
BATCHES = st.lists(st.tuples(st.integers(0, 3 * HOUR), st.integers(1, 40)), max_size=60)
"""Seconds since the batch before, and rows."""


def counts(rows: int) -> Counts:
    cells = np.array([rows], dtype=np.int64)
    return Counts(rows, cell_layout(("x",), (1,)), cells, prediction=cells, label=np.zeros(1, np.int64))


def chunks_of(batches: Sequence[tuple[int, int]], chunking: Chunking) -> tuple[Chunk, ...]:
    chunks: tuple[Chunk, ...] = ()
    time = 0
    for pause, rows in batches:
        time += pause * SECOND
        chunks = added(chunks, [(Stretch(time, time, rows), counts(rows))], chunking)
    return chunks


def at(seconds: int) -> datetime:
    return moment(seconds * SECOND)


def rows_of(windows: Sequence[CountedWindow]) -> list[int]:
    return [window.counts.rows for window in windows]


def test_times_are_the_same_there_and_back() -> None:
    time = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
    assert moment(nanoseconds(time)) == time


@given(BATCHES, st.integers(1, 50))
def test_no_row_is_lost_and_no_chunk_spans_a_border(batches: list[tuple[int, int]], size: int) -> None:
    chunks = chunks_of(batches, Chunking(rows=size))
    assert sum(chunk.counts.rows for chunk in chunks) == sum(rows for _, rows in batches)
    assert all(chunk.first // (HOUR * SECOND) == chunk.last // (HOUR * SECOND) for chunk in chunks)
    starts = [chunk.start for chunk in chunks]
    assert starts == [sum(chunk.counts.rows for chunk in chunks[:place]) for place in range(len(chunks))]


@given(BATCHES, st.integers(1, 5))
def test_the_number_of_chunks_is_bounded_and_the_newest_stays(
    batches: list[tuple[int, int]], most: int
) -> None:
    kept = chunks_of(batches, Chunking(rows=10, max_chunks=most))
    everything = chunks_of(batches, Chunking(rows=10))
    assert len(kept) <= most
    assert kept[-1:] == everything[-1:]
    # What is no longer kept is told by the first one.
    assert sum(each.counts.rows for each in (*kept,)) + (kept[0].start if kept else 0) == sum(
        rows for _, rows in batches
    )


@given(BATCHES, st.integers(1, 100))
def test_windows_of_rows_have_about_as_many_and_follow_one_another(
    batches: list[tuple[int, int]], size: int
) -> None:
    chunks = chunks_of(batches, Chunking(rows=1))
    windows = whole_windows([chunks], MonitoringWindow(rows=size), now=at(10**9))
    newest = whole_windows([chunks], MonitoringWindow(rows=size), now=at(10**9), newest=2)
    assert [(each.first, each.last, each.counts.rows) for each in newest] == [
        (each.first, each.last, each.counts.rows) for each in windows[-2:]
    ]
    total = sum(rows for _, rows in batches)
    assert sum(rows_of(windows)) <= total
    assert all(before.last <= after.first for before, after in pairwise(windows))
    # A chunk of at most 40 rows may belong to the window that it begins in.
    assert all(size - 40 < rows < size + 40 for rows in rows_of(windows))


@given(BATCHES, st.integers(1, 100), st.integers(1, 30))
def test_a_window_stays_what_it_is_when_more_rows_come(
    batches: list[tuple[int, int]], size: int, cut: int
) -> None:
    window = MonitoringWindow(rows=size)
    before = whole_windows([chunks_of(batches[:cut], Chunking(rows=1))], window, now=at(10**9))
    after = whole_windows([chunks_of(batches, Chunking(rows=1))], window, now=at(10**9))
    assert rows_of(after)[: len(before)] == rows_of(before)


@given(BATCHES, st.integers(1, 8), st.integers(1, 60))
def test_forgetting_the_oldest_rows_moves_no_window(
    batches: list[tuple[int, int]], most: int, size: int
) -> None:
    window = MonitoringWindow(rows=size)
    chunks = chunks_of(batches, Chunking(rows=1))
    everything = whole_windows([chunks], window, now=at(10**9))
    try:
        kept = whole_windows([chunks[-most:]], window, now=at(10**9))
    except WindowTooLongError:
        assert sum(each.counts.rows for each in chunks[-most:]) < size
        return
    ends = [(each.first, each.last, each.counts.rows) for each in everything]
    assert all((each.first, each.last, each.counts.rows) in ends for each in kept)


def test_a_window_that_does_not_fit_what_is_kept_is_told() -> None:
    chunks = chunks_of([(1, 10)] * 6, Chunking(rows=10))[-3:]
    with pytest.raises(WindowTooLongError, match=r"window.rows: .* from 1970-01-01 00:00 on, 30 of them"):
        whole_windows([chunks], MonitoringWindow(rows=31), now=at(HOUR))
    with pytest.raises(WindowTooLongError, match=r"window.seconds: .* 2 s, and no window of 3 s fits"):
        whole_windows([chunks], MonitoringWindow(seconds=3), now=at(2))
    assert whole_windows([chunks], MonitoringWindow(rows=25), now=at(HOUR)) == []


def test_a_window_of_which_one_replica_forgot_rows_is_left_out() -> None:
    one = chunks_of([(0, 10), (HOUR, 10), (HOUR, 10), (HOUR, 10)], Chunking(rows=10))
    windows = whole_windows([one, one[-2:]], MonitoringWindow(seconds=HOUR), now=at(4 * HOUR))
    assert [each.first for each in windows] == [at(3 * HOUR)]


def test_windows_of_seconds_begin_at_multiples_and_end_in_time() -> None:
    chunks = chunks_of([(0, 1), (3600, 1), (3600, 1), (3600, 1)], Chunking(rows=1))
    window = MonitoringWindow(seconds=2 * HOUR)
    assert rows_of(whole_windows([chunks], window, now=at(4 * HOUR - 1))) == [2]
    assert rows_of(whole_windows([chunks], window, now=at(4 * HOUR))) == [2, 2]


def test_replicas_add_up() -> None:
    one = chunks_of([(0, 3), (600, 3)], Chunking(rows=1))
    other = chunks_of([(300, 3), (600, 3)], Chunking(rows=1))
    windows = whole_windows([one, other], MonitoringWindow(rows=6), now=at(HOUR))
    assert rows_of(windows) == [6, 6]
    hours = whole_windows([one, other], MonitoringWindow(seconds=HOUR), now=at(HOUR))
    assert rows_of(hours) == [12]


def test_windows_after_the_newest_with_enough_labels_wait_for_theirs() -> None:
    chunks = chunks_of([(1, 10)] * 6, Chunking(rows=10))
    labels = (0, 4, 0, 3, 1, 0)
    labelled = [
        replace(chunk, counts=replace(chunk.counts, labelled=number))
        for chunk, number in zip(chunks, labels, strict=True)
    ]
    for least, expected in ((0, 6), (1, 5), (3, 4), (4, 2), (5, 6)):
        found = whole_windows([labelled], MonitoringWindow(rows=10), now=at(HOUR), labelled=least)
        assert [window.counts.labelled for window in found] == list(labels[:expected])


@given(BATCHES.filter(bool), st.integers(1, 60), st.data())
def test_chunks_are_the_same_however_rows_come(
    batches: list[tuple[int, int]], size: int, data: st.DataObject
) -> None:
    times = np.cumsum([pause for pause, _ in batches]).repeat([rows for _, rows in batches]) * SECOND
    chunking = Chunking(rows=size, max_chunks=data.draw(st.sampled_from([1, 3, 20, 2000])))
    cut = data.draw(st.integers(0, len(times)))
    cuts: list[tuple[tuple[int, int, int], ...]] = []
    for parts in ([times], [times[:cut], times[cut:]], np.split(times, len(times))):
        chunks: tuple[Chunk, ...] = ()
        for part in parts:
            stretches = stretches_of(chunks, part, chunking)
            assert sum(each.rows for each in stretches) == len(part)
            chunks = added(chunks, [(each, counts(each.rows)) for each in stretches], chunking)
        cuts.append(tuple((each.first, each.last, each.counts.rows) for each in chunks))
    assert cuts[0] == cuts[1] == cuts[2]


def test_a_label_finds_the_chunk_of_its_row() -> None:
    chunks = chunks_of([(0, 1), (5000, 1), (5000, 1)], Chunking(rows=1))
    assert [chunk_at(chunks, seconds * SECOND) for seconds in (0, 5000, 10_000, 99)] == [0, 1, 2, None]


def test_a_chunk_is_the_same_after_json() -> None:
    (chunk,) = chunks_of([(5, 2)], Chunking())
    read = Chunk.of_wire(chunk.to_wire(), classes=True)
    assert read.to_wire() == chunk.to_wire()
    assert timedelta(seconds=5) == moment(read.first) - moment(0)
