"""The backlog gives back what was put in, in order, whatever is in memory and whatever in files."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.tracking import spool as spool_module
from mlinfra.tracking.backlog import Backlog
from mlinfra.tracking.batches import MetricPoint
from mlinfra.tracking.replay import leftovers
from mlinfra.tracking.spool import Spool, SpooledRun, read_entries

RUN = SpooledRun("http://127.0.0.1:5000", "run", 1)


def points(start: int, count: int) -> list[MetricPoint]:
    return [MetricPoint("loss", float(step), step, step) for step in range(start, start + count)]


def steps_on_disk(folder: Path) -> list[int]:
    return [point.step for entry in read_entries(sorted(folder.glob("*.jsonl"))) for point in entry.metrics]


@given(
    actions=st.lists(st.one_of(st.integers(1, 40), st.just("take"), st.just("drain")), max_size=40),
    max_in_memory=st.integers(1, 50),
    segment_bytes=st.sampled_from([1, 300, 4000]),
)
def test_everything_comes_out_once_in_order_and_is_on_disk_until_then(
    actions: list[int | str], max_in_memory: int, segment_bytes: int
) -> None:
    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder), RUN, segment_bytes=segment_bytes)
        backlog = Backlog(spool, max_in_memory=max_in_memory)
        put, taken = 0, list[int]()

        def take() -> bool:
            batch = backlog.take()
            if batch is None:
                return False
            # What a crash at this very moment would leave.
            assert set(range(len(taken), put)) <= set(steps_on_disk(spool.folder))
            taken.extend(point.step for point in batch.metrics)
            backlog.done()
            return True

        for action in actions:
            if isinstance(action, int):
                backlog.put(points(put, action), {})
                put += action
                assert len(backlog._memory) <= max_in_memory
            elif action == "take":
                take()
            else:
                while take():
                    pass
                assert steps_on_disk(spool.folder) == []
            assert backlog.points == put - len(taken)
        while take():
            pass
        assert taken == list(range(put))
        assert not backlog
        spool.remove()
        assert list(Path(folder).iterdir()) == []


def test_segments_that_are_written_are_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path, RUN, segment_bytes=200)
    backlog = Backlog(spool, max_in_memory=5)
    for start in range(0, 4000, 10):
        backlog.put(points(start, 10), {})
    before = len(list(spool.folder.glob("*.jsonl")))
    backlog.take()
    backlog.done()
    assert len(list(spool.folder.glob("*.jsonl"))) < before
    spool.remove()


def test_a_full_disk_is_told_of_once_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backlog = Backlog(Spool(tmp_path, RUN), max_in_memory=5)
    backlog.put(points(0, 4), {})
    backlog.put(points(4, 4), {"tag": "old"})

    def full(_file: int, _line: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool_module.os, "write", full)
    backlog.put(points(8, 4), {"tag": "new"})
    backlog.put(points(12, 4), {})
    monkeypatch.setattr(spool_module.os, "write", os.write)
    taken, tags = list[int](), dict[str, str]()
    while (batch := backlog.take()) is not None:
        taken.extend(point.step for point in batch.metrics)
        tags.update(batch.tags)
        backlog.done()
    assert sorted(taken) == list(range(16))
    assert tags == {"tag": "new"}
    assert caplog.text.count("No space left on device") == 1


def test_without_a_spool_memory_holds_all() -> None:
    backlog = Backlog(None, max_in_memory=2)
    backlog.put(points(0, 10), {})
    batch = backlog.take()
    assert batch is not None
    assert [point.step for point in batch.metrics] == list(range(10))
    assert not backlog.end("FINISHED", 1)


def test_a_torn_line_is_left_out_and_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path, RUN)
    backlog = Backlog(spool)
    backlog.put(
        [MetricPoint("loss", float("nan"), 1, 1), MetricPoint("loss", float("inf"), 2, 2)], {"a": "b"}
    )
    spool.leave()
    (segment,) = spool.folder.glob("*.jsonl")
    with segment.open("ab") as file:
        file.write(b'{"m":[["loss",1.0')
    (entry,) = read_entries([segment])
    assert [str(point.value) for point in entry.metrics] == ["nan", "inf"]
    assert entry.tags == {"a": "b"}
    assert "line 2 is torn" in caplog.text


def test_only_what_no_process_holds_is_a_leftover(tmp_path: Path) -> None:
    held, left = Spool(tmp_path, RUN), Spool(tmp_path, RUN)
    (tmp_path / ".unfinished").mkdir()
    damaged = Spool(tmp_path, RUN)
    damaged.leave()
    (damaged.folder / "run.json").write_text("{")
    left.leave()
    assert [each.folder for each in leftovers(tmp_path)] == [left.folder]
    assert [each.run for each in leftovers(tmp_path)] == [RUN]
    held.remove()
    assert list(leftovers(tmp_path / "absent")) == []
    assert list(leftovers(None)) == []
