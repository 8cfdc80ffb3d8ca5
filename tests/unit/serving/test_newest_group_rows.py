"""Which of a group's rows a check reads, and how they fall into windows."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.features import FeatureStore
from mlinfra.monitoring.chunks import moment
from mlinfra.monitoring.coarsening import SECOND
from mlinfra.resources.monitoring import DriftPolicy, MonitoringWindow, PerformancePolicy, WindowedCheck
from mlinfra.retraining.windows import LOOK_BACK
from mlinfra.serving import newest_group_rows
from mlinfra.serving.newest_group_rows import (
    TooManyRowsError,
    newest_rows,
    window_borders,
    windows_kept,
)

START = datetime(2026, 1, 5, tzinfo=UTC)
WINDOWS = st.one_of(
    st.integers(1, 6).map(lambda rows: MonitoringWindow(rows=rows)),
    st.integers(1, 9).map(lambda hours: MonitoringWindow(seconds=3600 * hours)),
)


@st.composite
def policies(draw: st.DrawFn) -> WindowedCheck:
    of = draw(st.integers(1, 3))
    counting = {"window": draw(WINDOWS), "min_samples": 1, "breached_windows": 1, "of_windows": of}
    if draw(st.booleans()):
        return DriftPolicy(**counting)
    return PerformancePolicy(**counting, estimate=draw(st.sampled_from(["Never", "WhenUnlabelled"])))


def write(store: FeatureStore, hours: list[int]) -> None:
    """A row of each of two entities in each of the hours, and one that is written again."""
    times = [START + timedelta(hours=hour) for hour in sorted(set(hours))]
    frame = pd.DataFrame({"event_timestamp": times * 2, "entity": ["a"] * len(times) + ["b"] * len(times)})
    frame["value"] = 1.0
    store.write_offline_features("g", frame, entity_column="entity", partition_by="day")


@settings(max_examples=30)
@given(
    writes=st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=12), min_size=1, max_size=4),
    policy=policies(),
    later=st.integers(0, 5),
)
def test_what_is_read_has_the_windows_that_all_rows_have(
    writes: list[list[int]], policy: WindowedCheck, later: int
) -> None:
    with TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        for hours in writes:
            write(store, hours)
        files, _ = store.offline_files_since("g", None)
        hours = sorted(hour for hour in set().union(*writes) for _ in "ab")
        now = START + timedelta(hours=hours[-1] + later)
        chosen = newest_rows(files, [policy], ["value"], window=1, now=now)
        assert chosen is not None
        read = chosen.files.read(["entity", "event_timestamp"]).column("event_timestamp").to_pylist()
    every = (
        np.array([(START + timedelta(hours=hour)).timestamp() for hour in hours]).astype(np.int64) * SECOND
    )
    there = np.array([each.timestamp() for each in read]).astype(np.int64) * SECOND
    assert policy.window is not None
    count = windows_kept(policy)
    wanted = window_borders(every, policy.window, count, now)
    borders = window_borders(there, policy.window, count, now, start=chosen.first)
    cut = [every[low:high].tolist() for low, high in wanted]
    if policy.window.seconds is not None:
        # Windows without rows are passed over, but not for ever.
        length = policy.window.seconds
        oldest = (int(now.timestamp()) // length - LOOK_BACK * count) * length * SECOND
        near = [each for each in cut if each[0] >= oldest]
        assert len(borders) >= len(near)
        cut = cut[len(cut) - len(borders) :]
    assert [there[low:high].tolist() for low, high in borders] == cut


@given(
    times=st.lists(st.integers(0, 10**5), max_size=30).map(sorted),
    window=WINDOWS,
    count=st.integers(1, 5),
    now=st.integers(0, 10**5 + 3600),
)
def test_windows_are_whole_follow_one_another_and_are_the_newest(
    times: list[int], window: MonitoringWindow, count: int, now: int
) -> None:
    rows = np.array(times, np.int64) * SECOND
    borders = window_borders(rows, window, count, moment(now * SECOND))
    assert len(borders) <= count
    assert all(high == low for (_, high), (low, _) in pairwise(borders))
    if window.rows is not None:
        assert all(high - low == window.rows for low, high in borders)
        assert [high for _, high in borders[-1:]] == ([len(rows)] if len(rows) >= window.rows else [])
        return
    assert window.seconds is not None
    ended = [time // window.seconds for time in times if time // window.seconds < now // window.seconds]
    newest = sorted(set(ended))[-count:]
    assert [set((rows[low:high] // SECOND // window.seconds).tolist()) for low, high in borders] == [
        {number} for number in newest
    ]
    assert sum(high - low for low, high in borders) == sum(each in newest for each in ended)


def test_rows_before_the_windows_are_read_where_the_model_looks_back(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    for day in range(4):
        write(store, list(range(24 * day, 24 * day + 24)))
    files, _ = store.offline_files_since("g", None)
    policy = DriftPolicy(window=MonitoringWindow(rows=10), min_samples=1, breached_windows=1, of_windows=1)
    chosen = newest_rows(files, [policy], ["value"], window=3, now=None)
    assert chosen is not None
    assert moment(chosen.first) == START + timedelta(hours=95 - 4)
    assert len(chosen.files.read(["entity", "event_timestamp"])) == 10 + 2 * 2
    assert len(chosen.files.files) == 1


def test_a_group_without_rows_has_no_newest(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    write(store, [1])
    files, _ = store.offline_files_since("g", None)
    assert (
        newest_rows(files.only([False] * len(files.files)), [DriftPolicy()], ["value"], window=1, now=None)
        is None
    )


@pytest.mark.parametrize(("bound", "problem"), [("MAX_ROWS", "are read"), ("MAX_SCANNED", "are looked at")])
def test_more_rows_than_a_server_reads_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, problem: str
) -> None:
    store = FeatureStore(tmp_path)
    write(store, list(range(20)))
    files, _ = store.offline_files_since("g", None)
    monkeypatch.setattr(newest_group_rows, bound, 19)
    policy = DriftPolicy(window=MonitoringWindow(rows=20), min_samples=1, of_windows=3)
    with pytest.raises(TooManyRowsError, match=problem):
        newest_rows(files, [policy], ["value"], window=1, now=None)


def log(store: FeatureStore, rows: list[tuple[int, bool]]) -> None:
    """A row of a prediction log for each hour, of some with the feature."""
    frame = pd.DataFrame(
        {
            "event_timestamp": [START + timedelta(hours=hour) for hour, _ in rows],
            "prediction_id": [f"p{hour}" for hour, _ in rows],
            "sequence": [hour for hour, _ in rows],
            "prediction": 1.0,
            "value": pd.array([1.0 if known else None for _, known in rows], "Float32"),
        }
    )
    store.write_offline_features("log", frame, entity_column="prediction_id", partition_by="day")


@settings(max_examples=30)
@given(
    known=st.lists(st.booleans(), min_size=1, max_size=60),
    files=st.integers(1, 5),
    policy=policies(),
)
def test_of_a_log_the_rows_with_features_make_the_windows(
    known: list[bool], files: int, policy: WindowedCheck
) -> None:
    rows = list(enumerate(known))
    with TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        for number in range(files):
            if part := rows[number::files]:
                log(store, part)
        # As where the answer to a write was lost.
        log(store, rows[-2:])
        found, _ = store.offline_files_since("log", None)
        now = START + timedelta(hours=len(rows))
        chosen = newest_rows(found, [policy], ["value"], window=1, now=now)
        assert (chosen is None) == (not any(known))
        if chosen is None:
            return
        read = chosen.files.read(["prediction_id", "event_timestamp", "value"])
    there = read.filter(read.column("value").is_valid()).column("event_timestamp").to_pylist()
    every = [START + timedelta(hours=hour) for hour, has in rows if has]
    assert policy.window is not None

    def windows(times: list[datetime], start: int | None) -> list[list[datetime]]:
        assert policy.window is not None
        seconds = np.array([each.timestamp() for each in times]).astype(np.int64) * SECOND
        borders = window_borders(seconds, policy.window, windows_kept(policy), now, start=start)
        return [times[low:high] for low, high in borders]

    borders = windows(there, chosen.first)
    if policy.window.rows is not None:
        assert borders == windows(every, None)
    else:
        # Windows without rows are passed over, but not for ever.
        assert borders == windows(every, None)[-len(borders) :] if borders else True
