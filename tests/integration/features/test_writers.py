"""Several processes at one group: no row is lost, none is seen half, and a killed writer harms nobody."""

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from mlinfra.features import FeatureStore

BATCHES = """
import sys, pandas as pd
from mlinfra.features import FeatureStore
for batch in range(8):
    times = pd.date_range("2024-01-01", periods=8, freq="h") + pd.Timedelta(days=batch)
    frame = pd.DataFrame({"timestamp": times, "symbol": sys.argv[2], "batch": batch})
    FeatureStore(sys.argv[1]).write_offline_features("g", frame)
"""
COMPACTING = """
import sys
from datetime import timedelta
from pathlib import Path
from mlinfra.features import FeatureStore
store = FeatureStore(sys.argv[1])
while not Path(sys.argv[2]).exists():
    store.compact_offline_features("g")
    store.vacuum_offline_features("g", older_than=timedelta(0))
"""
GROWING = """
import sys, pandas as pd
from mlinfra.features import FeatureConflict, FeatureStore
name, kind = sys.argv[2], sys.argv[3]
frame = pd.DataFrame({"timestamp": pd.to_datetime(["2024-01-01"]), "symbol": name, "x": 1})
frame["new"] = pd.Series([1]).astype(kind)
try:
    FeatureStore(sys.argv[1]).write_offline_features("g", frame)
except FeatureConflict as error:
    print(error)
"""
KILLED = """
import sys, pandas as pd
from pathlib import Path
from mlinfra.features import FeatureStore
times = pd.date_range("2000-01-01", periods=3000)
frame = pd.DataFrame({"timestamp": times, "symbol": "A", "x": 1})
FeatureStore(Path(sys.argv[1])).write_offline_features("g", frame, partition_by="day")
"""


@pytest.fixture(params=["folder", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "folder" else str(request.getfixturevalue("s3_uri"))


def test_writers_lose_nothing_and_readers_see_whole_batches(location: str) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", BATCHES, location, symbol]) for symbol in "ABC"]
    store = FeatureStore(location)
    while any(writer.poll() is None for writer in writers):
        if store.list_feature_groups():
            seen = store.read_offline_features("g").groupby(["symbol", "batch"]).size()
            assert set(seen) == {8}
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(FeatureStore(location).read_offline_features("g")) == 3 * 8 * 8


def test_compactions_and_vacuums_under_writers_lose_nothing(location: str, tmp_path: Path) -> None:
    store = FeatureStore(location)
    first = pd.DataFrame({"timestamp": pd.to_datetime(["2023-01-01"]), "symbol": "first", "batch": 0})
    store.write_offline_features("g", first, partition_by="month")
    stop = tmp_path / "stop"
    writers = [subprocess.Popen([sys.executable, "-c", BATCHES, location, symbol]) for symbol in "AB"]
    tidy = [subprocess.Popen([sys.executable, "-c", COMPACTING, location, str(stop)]) for _ in range(2)]
    while any(writer.poll() is None for writer in writers):
        seen = store.read_offline_features("g").groupby(["symbol", "batch"]).size().drop(("first", 0))
        assert set(seen) <= {8}
    stop.touch()
    assert [process.wait(timeout=120) for process in (*writers, *tidy)] == [0] * 4
    assert len(FeatureStore(location).read_offline_features("g")) == 1 + 2 * 8 * 8


def test_of_writers_that_add_a_column_in_two_types_at_once_one_is_refused(location: str) -> None:
    store = FeatureStore(location)
    store.write_offline_features(
        "g", pd.DataFrame({"timestamp": pd.to_datetime(["2024-01-01"]), "symbol": "first", "x": 1})
    )
    kinds = ["int64", "str", "int64", "str"]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", GROWING, location, f"writer {number}", kind],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, kind in enumerate(kinds)
    ]
    told = [writer.communicate(timeout=120)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4
    written = [kind for kind, text in zip(kinds, told, strict=True) if not text]
    assert len(written) == 2
    assert len(set(written)) == 1
    refused = [text for text in told if text]
    assert all("column 'new' of feature group 'g' is" in text for text in refused)
    assert len(store.read_offline_features("g")) == 3


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


def test_polars_is_imported_only_where_it_is_used(tmp_path: Path) -> None:
    program = KILLED + "FeatureStore(Path(sys.argv[1])).read_offline_features('g', as_='arrow')\n"
    program += "assert 'polars' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", program.replace("periods=3000", "periods=3"), tmp_path], check=True)
