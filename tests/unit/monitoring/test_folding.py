"""Counts of several replicas put together say what they said before."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.monitoring import folding
from mlinfra.monitoring.chunks import Chunk, Kept, WindowTooLongError, moment, whole_windows
from mlinfra.monitoring.coarsening import SECOND
from mlinfra.monitoring.counts import Counts, cell_layout
from mlinfra.monitoring.folding import Folded, Place, together
from mlinfra.resources.monitoring import MonitoringWindow

WINDOWS = st.one_of(
    st.integers(1, 60).map(lambda rows: MonitoringWindow(rows=rows)),
    st.integers(1, 40).map(lambda minutes: MonitoringWindow(seconds=60 * minutes)),
)


def counts(rows: int, labelled: int = 0) -> Counts:
    cells = np.array([rows], np.int64)
    label = np.array([labelled], np.int64)
    return Counts(rows, cell_layout(("x",), (1,)), cells, prediction=cells, label=label, labelled=labelled)


@st.composite
def replicas(draw: st.DrawFn) -> list[Kept]:
    """Up to three; some forgot rows, and some have labels of the others' rows."""
    minutes = draw(st.lists(st.integers(0, 300), unique=True, max_size=25))
    found = []
    for own in (minutes[:8], minutes[8:16], minutes[16:]):
        before, chunks = draw(st.sampled_from([0, 0, 0, 7])), []
        for minute in sorted(own):
            rows = draw(st.integers(1, 20))
            time = 60 * minute * SECOND
            chunks.append(Chunk(time, time + draw(st.integers(0, 600)) * SECOND, before, counts(rows)))
            before += rows
        found.append(chunks)
    late = []
    for place in range(3):
        others = [one for other, chunks in enumerate(found) if other != place for one in chunks]
        some = draw(st.lists(st.sampled_from(others), max_size=4)) if others else []
        late.append(tuple(Chunk(one.first, one.last, 0, counts(0, 1)) for one in some))
    return [Kept(tuple(chunks), own) for chunks, own in zip(found, late, strict=True)]


def windows(kept: Sequence[Kept], window: MonitoringWindow, now: int) -> list[object]:
    chunks = [*(each.late for each in kept), *(each.chunks for each in kept)]
    try:
        found = whole_windows(chunks, window, now=moment(now * 60 * SECOND))
    except WindowTooLongError:
        return []
    return [(each.first, each.last, each.counts.to_wire()) for each in found]


@given(kept=replicas(), window=WINDOWS, now=st.integers(0, 400), some=st.integers(0, 3))
def test_windows_are_what_they_were(kept: list[Kept], window: MonitoringWindow, now: int, some: int) -> None:
    before = windows(kept, window, now)
    found = windows([together(kept[:some], 2000), *kept[some:]], window, now)
    # Where rows were forgotten the oldest window may not be told whole any more.
    forgetful = any(each.chunks and each.chunks[0].start for each in kept)
    assert found in ([before, before[1:]] if forgetful else [before])


@given(kept=replicas(), most=st.integers(1, 30), some=st.integers(0, 3))
def test_rows_and_labels_are_all_there_and_chunks_are_bounded(kept: list[Kept], most: int, some: int) -> None:
    found = together([together(kept[:some], most), *kept[some:]], most)
    assert max(len(found.chunks), len(found.late)) <= most

    def rows(each: Kept) -> int:
        return sum(one.counts.rows for one in each.chunks) + (each.chunks[0].start if each.chunks else 0)

    assert rows(found) == sum(map(rows, kept))
    if not any(each.chunks and each.chunks[0].start for each in (found, *kept)):
        labels = [[one.counts.labelled for one in (*each.chunks, *each.late)] for each in (found, *kept)]
        assert sum(labels[0]) == sum(map(sum, labels[1:]))


def test_places_of_replicas_that_are_gone_altogether_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "PLACES_KEPT", 2)
    folded = Folded()
    for number in range(4):
        folded = folded.with_files({(f"r{number}", 0): Kept(position={"rows": number})}, 9, there={"r1"})
    assert folded.places == {"r1": Place(0, {"rows": 1}), "r3": Place(0, {"rows": 3})}
    folded = folded.with_files({("r1", 1): Kept(position={"rows": 9})}, 9, there={"r1"})
    assert list(folded.places) == ["r3", "r1"]
    assert folded.places["r1"] == Place(1, {"rows": 9})
    assert [folded.holds("r1", generation) for generation in (0, 1, 2)] == [True, True, False]
    assert [folded.following(name) for name in ("r1", "new")] == [2, 0]
