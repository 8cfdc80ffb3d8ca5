"""What replicas keep of their counts, and what others read of it."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlinfra.features.files import exclusive
from mlinfra.monitoring import folding
from mlinfra.monitoring.chunk_store import (
    FOLDED_FILE,
    LOCK_FILE,
    RENEW_SECONDS,
    ChunkStore,
    CountsFoldedError,
    MonitoringStoreError,
)
from mlinfra.monitoring.chunks import Chunk, Kept
from mlinfra.monitoring.counts import Counts, cell_layout


def chunk(rows: int, start: int = 0) -> Chunk:
    cells = np.array([rows, 0, 0], np.int64)
    counts = Counts(rows, cell_layout(("x",), (3,)), cells, prediction=cells, label=np.zeros(3, np.int64))
    return Chunk(start, start + rows, start, counts)


def store(folder: Path, replica: str, profile: str = "p") -> ChunkStore:
    return ChunkStore(folder, model="m/1", version="1", profile=profile, replica=replica, classes=True)


def wires(kept: Kept) -> list[object]:
    return [[each.to_wire() for each in kept.chunks], [each.to_wire() for each in kept.late], kept.position]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=6))
def test_what_was_kept_the_last_time_is_what_is_read(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    """Chunks that stayed the same keep their text; those that were replaced do not."""
    own, chunks = store(tmp_path, "a"), tuple(chunk(3, 10 * place) for place in range(4))
    for place, rows in changes:
        chunks = (*chunks[:place], chunk(rows, 10 * place), *chunks[place + 1 :])
        kept = Kept(chunks, chunks[:1], {"rows": rows})
        own.keep(kept)
        assert wires(store(tmp_path, "a").own()) == wires(kept)


def test_nothing_kept_is_nothing_read(tmp_path: Path) -> None:
    assert store(tmp_path, "a").own() == Kept()
    assert store(tmp_path, "a").others() == []


def test_others_are_read_again_where_they_changed(tmp_path: Path) -> None:
    own, other = store(tmp_path, "a"), store(tmp_path, "b")
    own.keep(Kept((chunk(1),)))
    other.keep(Kept((chunk(2),)))
    (first,) = own.others()
    assert first.chunks[0].counts.rows == 2
    assert own.others()[0] is first
    other.keep(Kept((chunk(4),)))
    assert own.others()[0].chunks[0].counts.rows == 4


def test_chunks_that_stay_are_not_made_again(tmp_path: Path) -> None:
    own, other = store(tmp_path, "a"), store(tmp_path, "b")
    chunks, late = tuple(chunk(3, 10 * place) for place in range(4)), (chunk(1, 50),)
    other.keep(Kept(chunks, late))
    (before,) = own.others()
    changed = Kept((*chunks[:1], chunk(4, 10), *chunks[2:], chunk(5, 60)), late, {"rows": 9})
    other.keep(changed)
    (after,) = own.others()
    assert wires(after) == wires(changed)
    again = [after.chunks[place] is before.chunks[place] for place in range(4)]
    assert again == [True, False, True, True]
    assert after.late[0] is before.late[0]


def test_a_file_is_json_whose_lines_do_not_matter(tmp_path: Path) -> None:
    kept = Kept((chunk(3), chunk(4, 10)), (chunk(1, 20),), {"rows": 7})
    other = store(tmp_path, "b")
    other.keep(kept)
    (file,) = tmp_path.rglob("*.json")
    wire = json.loads(file.read_bytes())
    for text in (json.dumps(wire), json.dumps(wire, indent=2), json.dumps(wire, separators=(",", ":"))):
        file.write_text(text)
        (found,) = store(tmp_path, "a").others()
        assert wires(found) == wires(kept)


def test_each_replica_has_all_of_them_in_the_same_order(tmp_path: Path) -> None:
    replicas = {name: Kept((chunk(rows),)) for rows, name in enumerate("cab", 1)}
    for name, kept in replicas.items():
        store(tmp_path, name).keep(kept)
    for name, kept in replicas.items():
        found = store(tmp_path, name).all_with(kept)
        assert [wires(each) for each in found] == [wires(replicas[each]) for each in "abc"]


def test_counts_beside_another_profile_are_not_read(tmp_path: Path) -> None:
    store(tmp_path, "b", profile="q").keep(Kept((chunk(2),)))
    assert store(tmp_path, "a").others() == []


def test_a_file_that_nobody_can_read_counts_nothing(tmp_path: Path) -> None:
    other = store(tmp_path, "b")
    other.keep(Kept((chunk(2),)))
    (file,) = tmp_path.rglob("*.json")
    for content in (b"", b"no json", json.dumps({"schemaVersion": 2, "chunks": []}).encode()):
        file.write_bytes(content)
        assert store(tmp_path, "a").others() == []


def gone(folder: Path, replica: str) -> Path:
    """The file of a replica, which was renewed long ago."""
    (file,) = folder.rglob(f"{replica}.*json")
    os.utime(file, (0, 0))
    return file


def rows(found: list[Kept]) -> int:
    return sum(each.counts.rows for kept in found for each in kept.chunks)


def test_replicas_that_are_gone_have_one_file(tmp_path: Path) -> None:
    for number, name in enumerate("abcd", 1):
        store(tmp_path, name).keep(Kept((chunk(number),), position={"rows": number}))
    for name in "bc":
        gone(tmp_path, name)
    own = store(tmp_path, "a")
    before = own.others()
    assert own.fold(2000) == 2
    assert sorted(file.name for file in tmp_path.rglob("*.json")) == ["+folded.json", "a.json", "d.json"]
    assert (rows(own.others()), rows(before)) == (9, 9)
    assert own.fold(2000) == 0
    found = [
        [wires(each) for each in store(tmp_path, name).all_with(store(tmp_path, name).own())] for name in "ad"
    ]
    assert found[0] == found[1]


def test_a_replica_that_is_back_goes_on_from_its_position(tmp_path: Path) -> None:
    own, other = store(tmp_path, "a"), store(tmp_path, "b")
    for time in range(3):
        other.keep(Kept((chunk(2),), position={"rows": time}))
        gone(tmp_path, "b")
        assert own.fold(2000) == 1
        # It never was gone, or is again.
        with pytest.raises(CountsFoldedError):
            other.keep(Kept((chunk(3),)))
        with pytest.raises(CountsFoldedError):
            other.renew()
        with pytest.raises(CountsFoldedError):
            other.all_with(Kept((chunk(3),)))
        other = store(tmp_path, "b") if time == 1 else other
        assert wires(other.own()) == wires(Kept(position={"rows": time}))
        assert rows(own.others()) == 2 * (time + 1)


def test_a_replica_whose_file_was_deleted_counts_no_more(tmp_path: Path) -> None:
    own = store(tmp_path, "a")
    own.keep(Kept((chunk(1),)))
    next(tmp_path.rglob("a.json")).unlink()
    with pytest.raises(CountsFoldedError):
        own.keep(Kept((chunk(2),)))
    assert own.own() == Kept()
    own.keep(Kept((chunk(2),)))


def test_what_cannot_be_read_is_not_folded(tmp_path: Path) -> None:
    own, other = store(tmp_path, "a"), store(tmp_path, "b")
    other.keep(Kept((chunk(2),)))
    newer = json.dumps({"schemaVersion": 2}).encode()
    file = gone(tmp_path, "b")
    file.write_bytes(newer)
    gone(tmp_path, "b")
    assert own.fold(2000) == 0
    assert file.read_bytes() == newer
    other.keep(Kept((chunk(2),)))
    gone(tmp_path, "b")
    folded = file.with_name(FOLDED_FILE)
    folded.write_bytes(newer)
    assert own.fold(2000) == 0
    assert (file.exists(), folded.read_bytes(), rows(own.others())) == (True, newer, 2)


def test_a_replica_keeps_its_own_place_when_it_folds_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "PLACES_KEPT", 1)
    own, other = store(tmp_path, "a"), store(tmp_path, "b")
    own.keep(Kept((chunk(2),), position={"rows": 2}))
    gone(tmp_path, "a")
    assert other.fold(2000) == 1
    own.own()
    for name in "cd":
        store(tmp_path, name).keep(Kept((chunk(1),)))
        gone(tmp_path, name)
        assert own.fold(2000) == 1
    again = store(tmp_path, "a")
    assert wires(again.own()) == wires(Kept(position={"rows": 2}))
    assert rows(again.others()) == 4


def test_counts_that_were_folded_are_not_held_in_memory(tmp_path: Path) -> None:
    own = store(tmp_path, "a")
    for name in "bc":
        store(tmp_path, name).keep(Kept((chunk(2),)))
        gone(tmp_path, name)
    assert own.fold(2000) == 2
    assert own._read_before == {}


@pytest.mark.parametrize("first", ["unreadable", "folded"])
def test_a_file_of_another_release_stays_whatever_of_its_replica_is_folded(
    tmp_path: Path, first: str
) -> None:
    own, other = store(tmp_path, "a"), store(tmp_path, "b")
    other.keep(Kept((chunk(2),)))
    file = gone(tmp_path, "b")
    newer = json.dumps({"schemaVersion": 2}).encode()
    later = file.with_name("b.1.json")
    later.write_bytes(file.read_bytes())
    os.utime(later, (0, 0))
    if first == "folded":
        file.unlink()
        assert own.fold(2000) == 1
    file.write_bytes(newer)
    os.utime(file, (0, 0))
    assert own.fold(2000) == 0
    assert file.read_bytes() == newer
    assert later.exists() == (first == "unreadable")
    assert rows(store(tmp_path, "c").others()) == 2


def test_one_replica_folds_at_a_time(tmp_path: Path) -> None:
    own = store(tmp_path, "a")
    assert own.fold(2000) == 0
    store(tmp_path, "b").keep(Kept((chunk(2),)))
    file = gone(tmp_path, "b")
    with exclusive(file.with_name(LOCK_FILE)):
        assert own.fold(2000) == 0
    assert own.fold(2000) == 1


def test_who_renews_its_file_is_not_gone(tmp_path: Path) -> None:
    seconds = [0.0]
    other = ChunkStore(
        tmp_path,
        model="m/1",
        version="1",
        profile="p",
        replica="b",
        classes=True,
        clock=lambda: seconds[0],
    )
    other.renew()
    other.keep(Kept((chunk(2),)))
    gone(tmp_path, "b")
    seconds[0] = RENEW_SECONDS
    other.renew()
    assert store(tmp_path, "a").fold(2000) == 0
    gone(tmp_path, "b")
    other.renew()
    assert store(tmp_path, "a").fold(2000) == 1


def test_files_of_others_are_let_be(tmp_path: Path) -> None:
    own = store(tmp_path, "a")
    own.keep(Kept((chunk(1),)))
    (file,) = tmp_path.rglob("a.json")
    for name in ("b.old.json", ".b.json", "notes.txt"):
        file.with_name(name).write_text("mine")
        os.utime(file.with_name(name), (0, 0))
    assert (own.others(), own.fold(2000)) == ([], 0)
    assert file.with_name("b.old.json").exists()


def test_a_folder_that_does_not_answer_is_no_replica_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(path: Path) -> os.stat_result:
        raise OSError(errno.EIO, "the volume does not answer")

    own = store(tmp_path, "a")
    own.keep(Kept((chunk(1),)))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", stale)
        with pytest.raises(MonitoringStoreError, match="does not answer") as raised:
            own.keep(Kept((chunk(2),)))
    assert not isinstance(raised.value, CountsFoldedError)
    own.keep(Kept((chunk(2),)))
