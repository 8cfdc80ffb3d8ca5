"""Several processes at one online store: no stale read, no lost write, and a killed one harms nobody."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlinfra.features import FeatureStore
from mlinfra.features.online.lmdb_backend import LmdbBackend
from mlinfra.features.online.store import OnlineStore

KEYS = [f"k{number}" for number in range(50)]
DEADLINE_SECONDS = 60.0

COUNTING = """
import sys
from pathlib import Path
import numpy as np
from mlinfra.features import FeatureStore
store = FeatureStore(Path(sys.argv[1]))
keys = [f"k{number}" for number in range(50)]
for count in range(1, 100_000):
    store.write_online_features(keys, np.full((50, 3), count), feature_group="g", features=["x", "y", "z"])
    print(count, flush=True)
"""
OWN_KEYS = """
import sys
from pathlib import Path
import numpy as np, pandas as pd
from mlinfra.features import FeatureStore
store, own = FeatureStore(Path(sys.argv[1])), sys.argv[2]
for step in range(40):
    moment = pd.Timestamp(step if own == "a" else 39 - step, unit="D", tz="UTC")
    store.write_online_features([f"{own}{step}", "shared"], [[step]] * 2, feature_group="g", features=["x"],
                                event_timestamp=moment)
"""
GROWING = """
import sys, time
from pathlib import Path
import numpy as np
from mlinfra.features.online.lmdb_backend import LmdbBackend
from mlinfra.features.online.store import OnlineStore
store = OnlineStore(LmdbBackend(Path(sys.argv[1]) / "online", map_bytes=1 << 16), time.time_ns)
for step in range(100):
    keys = [f"{sys.argv[2]}{50 * step + number}" for number in range(50)]
    store.write(keys, np.full((50, 3), step), feature_group="g", version=None, features=["x", "y", "z"],
                event_timestamp=None, force=False)
"""
FORKING = """
import os, sys
from pathlib import Path
import numpy as np
from mlinfra.features import FeatureStore
store = FeatureStore(Path(sys.argv[1]))
store.write_online_features(["a"], [[1.0]], feature_group="g", features=["x"])
reader = store.prepare_online(feature_group="g")
assert reader.read("a").values[0, 0] == 1
child = os.fork()
if child == 0:
    assert reader.read("a").values[0, 0] == 1
    store.write_online_features(["a"], [[2.0]], feature_group="g")
    os._exit(0 if reader.read("a").values[0, 0] == 2 else 1)
assert os.waitpid(child, 0)[1] == 0
assert reader.read("a").values[0, 0] == 2
store.write_online_features(["a"], [[3.0]], feature_group="g")
assert reader.read("a").values[0, 0] == 3
"""
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from mlinfra.features import FeatureStore, FeatureStoreUnavailable
store = FeatureStore(Path(sys.argv[1]))
store.write_online_features("a", [1.0])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    store.write_online_features([str(number) for number in range(10_000)], np.ones((10_000, 50)))
except FeatureStoreUnavailable as error:
    print(error)
assert store.read_online_features("a").tolist() == [1]
assert store.read_online_features("5") is None
store.write_online_features("a", [2.0])
assert store.read_online_features("a").tolist() == [2]
"""
DAMAGED = """
import random, sys
from pathlib import Path
import numpy as np
from mlinfra.errors import MlinfraError
from mlinfra.features import FeatureStore
folder = Path(sys.argv[1])
keys = [f"k{number}" for number in range(300)]
store = FeatureStore(folder / "whole")
store.write_online_features(keys, np.ones((300, 10)), feature_group="g", features=list("abcdefghij"))
whole = (folder / "whole" / "online" / "data.mdb").read_bytes()
for seed in range(30):
    rng, damaged = random.Random(seed), bytearray(whole)
    page = 4096 * rng.randrange(len(whole) // 4096)
    damaged[page : page + 4096] = rng.randbytes(4096) if seed % 2 else bytes(4096)
    file = folder / str(seed) / "online" / "data.mdb"
    file.parent.mkdir(parents=True)
    file.write_bytes(damaged)
    try:
        read = FeatureStore(folder / str(seed)).read_online_features(keys, feature_group="g")
        assert (read.values == 1).all(), seed
    except MlinfraError as error:
        assert str(file) in str(error), error
        print(seed)
"""
MATERIALIZING = """
import sys
from pathlib import Path
from mlinfra.features import FeatureStore
FeatureStore(Path(sys.argv[1])).materialize_incremental("g")
"""


@contextmanager
def process(script: str, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def finished(script: str, *arguments: str | Path) -> str:
    argv = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def present(store: FeatureStore, keys: list[str]) -> bool:
    return not store.read_online_features(keys, feature_group="g").status.any()


def test_memory_never_gives_what_another_process_has_overwritten(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.write_online_features(KEYS, np.zeros((50, 3)), feature_group="g", features=["x", "y", "z"])
    reader = store.prepare_online(feature_group="g")
    with process(COUNTING, tmp_path) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            seen = np.unique(reader.read(KEYS).values)
            assert len(seen) == 1, "rows of two writes in one read"
            assert seen[0] >= int(line), "older than what was written before the read began"
            if int(line) >= 100:
                break


def test_threads_share_a_reader(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.write_online_features(KEYS, np.zeros((50, 3)), feature_group="g", features=["x", "y", "z"])
    reader = store.prepare_online(feature_group="g")
    written, ended = [0], threading.Event()

    def read(rng: random.Random) -> None:
        while not ended.is_set():
            at_least = written[0]
            seen = np.unique(reader.read(rng.sample(KEYS, rng.randint(1, 50))).values)
            assert len(seen) == 1
            assert seen[0] >= at_least

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read, random.Random(seed)) for seed in range(3)]
        try:
            for count in range(1, 100):
                store.write_online_features(KEYS, np.full((50, 3), count), feature_group="g")
                written[0] = count
        finally:
            ended.set()
        for each in readers:
            each.result()


def test_two_writers_lose_nothing_and_the_latest_event_stays(tmp_path: Path) -> None:
    with process(OWN_KEYS, tmp_path, "a") as first, process(OWN_KEYS, tmp_path, "b") as second:
        assert first.wait(DEADLINE_SECONDS) == 0
        assert second.wait(DEADLINE_SECONDS) == 0
    store = FeatureStore(tmp_path)
    keys = [f"{own}{step}" for own in "ab" for step in range(40)]
    assert store.read_online_features(keys, feature_group="g").values[:, 0].tolist() == [*range(40)] * 2
    shared = store.read_online_features("shared", feature_group="g")
    assert shared.event_timestamps[0] == np.datetime64("1970-02-09")


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_writer_leaves_all_of_a_write_or_nothing(tmp_path: Path, seed: int) -> None:
    with process(COUNTING, tmp_path) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        # Not waiting for anything: the point is to meet the writer at any moment of a write.
        time.sleep(random.Random(seed).uniform(0, 0.1))
        writer.send_signal(signal.SIGKILL)
        acknowledged = 1 + len(writer.stdout.readlines())
    store = FeatureStore(tmp_path)
    seen = np.unique(store.read_online_features(KEYS, feature_group="g").values)
    assert len(seen) == 1
    assert seen[0] >= acknowledged
    store.write_online_features(KEYS, np.full((50, 3), -1.0), feature_group="g")
    assert (store.read_online_features(KEYS, feature_group="g").values == -1).all()


def test_a_forked_child_opens_the_store_anew(tmp_path: Path) -> None:
    finished(FORKING, tmp_path)


def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path) -> None:
    told = finished(FULL_DISK, tmp_path)
    assert str(tmp_path / "online" / "data.mdb") in told
    assert "nothing was changed" in told


def test_a_damaged_page_is_told_and_ends_no_process(tmp_path: Path) -> None:
    assert finished(DAMAGED, tmp_path), "no damage was met"


def test_a_map_that_another_process_has_grown_is_taken_over(tmp_path: Path) -> None:
    small = OnlineStore(LmdbBackend(tmp_path / "online", map_bytes=1 << 16), time.time_ns)
    options = {"version": None, "features": ["x", "y", "z"], "event_timestamp": None, "force": False}
    small.write("k0", [0.0] * 3, feature_group="g", **options)
    reader = small.prepare(
        feature_group="g", features=None, version=None, ttl=None, dtype=np.float64, memory_rows=0
    )
    many = COUNTING.replace("50, 3", "5000, 3").replace("range(50)", "range(5000)")
    with process(many, tmp_path) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert reader.read("k4999").values[0, 0] >= 1
    assert small.write("k0", [7.0] * 3, feature_group="g", **options) == 1
    assert reader.read("k0").values.tolist() == [[7, 7, 7]]


def test_a_map_that_several_writers_outgrow_at_once_grows_for_all(tmp_path: Path) -> None:
    with process(GROWING, tmp_path, "a") as first, process(GROWING, tmp_path, "b") as second:
        assert first.wait(DEADLINE_SECONDS) == 0
        assert second.wait(DEADLINE_SECONDS) == 0
    keys = [f"{own}{number}" for own in "ab" for number in range(5000)]
    assert present(FeatureStore(tmp_path), keys)


def test_a_killed_materialization_is_completed_by_the_next(tmp_path: Path) -> None:
    count = 100_000
    store = FeatureStore(tmp_path)
    rows = pd.DataFrame(
        {
            "symbol": [f"s{number}" for number in range(count)],
            "event_timestamp": pd.Timestamp("2024-03-01", tz="UTC"),
            "x": np.arange(count, dtype=np.float64),
        }
    )
    symbols = rows["symbol"].tolist()
    store.write_offline_features("g", rows)
    with process(MATERIALIZING, tmp_path) as killed:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (store.list_online_groups() and present(store, symbols[:1])):
            assert killed.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline, "nothing came online"
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert not present(store, symbols), "it had ended before it was killed"
    store.materialize_incremental("g")
    assert store.read_online_features(symbols, feature_group="g").values[:, 0].tolist() == rows["x"].tolist()
    assert store.materialize_incremental("g") == 0
