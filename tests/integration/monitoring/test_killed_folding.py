"""A process that folds counts of replicas that are gone is killed again and again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from mlinfra.monitoring.chunk_store import FOLDED_FILE, ChunkStore

FOLDS = """
import itertools, os, sys
from pathlib import Path
import numpy as np
from mlinfra.monitoring.chunk_store import ChunkStore
from mlinfra.monitoring.chunks import Chunk, Kept
from mlinfra.monitoring.counts import Counts, cell_layout

folder, first = Path(sys.argv[1]), int(sys.argv[2])

def store(replica):
    return ChunkStore(folder, model="m", version="1", profile="p", replica=replica, classes=True)

cells = np.array([1], np.int64)
counts = Counts(1, cell_layout(("x",), (1,)), cells, prediction=cells, label=0 * cells)
for number in itertools.count(first):
    time = number * 10**9
    store(f"pod-{number}").keep(Kept((Chunk(time, time, 0, counts),)))
    print(number + 1, flush=True)
    (file,) = folder.rglob(f"pod-{number}.json")
    os.utime(file, (0, 0))
    if number % 3 == 0:
        store("folds").fold(40)
"""
ROUNDS = 5


def test_the_sum_is_what_was_counted_wherever_it_is_killed(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    counted = 0
    for _ in range(ROUNDS):
        command = [sys.executable, "-c", FOLDS, str(tmp_path), str(counted)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told = counted
            for _ in range(int(generator.integers(1, 60))):
                told = int(process.stdout.readline())
            # It goes on meanwhile, and is killed anywhere.
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
        told = int(rest[-1]) if rest else told
        reader = ChunkStore(tmp_path, model="m", version="1", profile="p", replica="reads", classes=True)
        others = reader.others()
        found = sum(each.counts.rows for kept in others for each in kept.chunks)
        # The last one may have been kept, and not told.
        assert found in (told, told + 1)
        counted = found
    assert max(len(kept.chunks) for kept in others) <= 40
    for file in tmp_path.rglob("pod-*.json"):
        os.utime(file, (0, 0))
    reader.fold(40)
    found = sum(each.counts.rows for kept in reader.others() for each in kept.chunks)
    assert found == counted
    assert [file.name for file in tmp_path.rglob("*.json")] == [FOLDED_FILE]
