"""Several processes at one group: no row is lost, none is seen half, and a killed writer harms nobody."""

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from mlinfra.features import FeatureStore

BATCHES = """
import sys, pandas as pd
from pathlib import Path
from mlinfra.features import FeatureStore
for batch in range(8):
    times = pd.date_range("2024-01-01", periods=8, freq="h") + pd.Timedelta(days=batch)
    frame = pd.DataFrame({"timestamp": times, "symbol": sys.argv[2], "batch": batch})
    FeatureStore(Path(sys.argv[1])).write_offline_features("g", frame)
"""
KILLED = """
import sys, pandas as pd
from pathlib import Path
from mlinfra.features import FeatureStore
times = pd.date_range("2000-01-01", periods=3000)
frame = pd.DataFrame({"timestamp": times, "symbol": "A", "x": 1})
FeatureStore(Path(sys.argv[1])).write_offline_features("g", frame, partition_by="day")
"""


def test_two_writers_lose_nothing_and_readers_see_whole_batches(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", BATCHES, str(tmp_path), symbol]) for symbol in "AB"]
    store = FeatureStore(tmp_path)
    while any(writer.poll() is None for writer in writers):
        if store.list_feature_groups():
            seen = store.read_offline_features("g").groupby(["symbol", "batch"]).size()
            assert set(seen) == {8}
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(store.read_offline_features("g")) == 2 * 8 * 8


def test_a_writer_killed_between_its_files_leaves_the_group_as_it_was(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    first = pd.DataFrame({"timestamp": pd.date_range("2020-01-01", periods=2), "symbol": "A", "x": [7, 8]})
    store.write_offline_features("g", first, partition_by="day")
    killed = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
    deadline = time.monotonic() + 60
    while len(list(tmp_path.rglob("*.parquet"))) < 10:
        assert killed.poll() is None, "the writer ended before it could be killed"
        assert time.monotonic() < deadline, "the writer wrote nothing within 60 s"
    killed.kill()
    killed.wait()
    assert len(list(tmp_path.rglob("*.parquet"))) < 3002
    assert store.read_offline_features("g")["x"].tolist() == [7, 8]
    store.write_offline_features("g", first.assign(x=9))
    assert store.read_offline_features("g")["x"].tolist() == [9, 9]
