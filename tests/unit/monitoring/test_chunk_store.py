"""What replicas keep of their counts, and what others read of it."""

import json
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlinfra.monitoring.chunk_store import ChunkStore, Kept
from mlinfra.monitoring.chunks import Chunk
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
        assert store(tmp_path, "a").others() == [Kept()]
