"""A full disk, damaged files, clocks that go back: told clearly, nothing lost, nothing half-written."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mlinfra.features import CorruptFeatures, FeatureStore
from mlinfra.features import offline as offline_module

FULL_DISK = """
import resource, sys, numpy as np, pandas as pd
from pathlib import Path
from mlinfra.features import FeatureStore, FeatureStoreUnavailable
days, limit = int(sys.argv[2]), int(sys.argv[3])
times = pd.date_range("2024-01-01", periods=days * 10, freq="144min")
frame = pd.DataFrame({"timestamp": times, "symbol": "A", "x": np.random.default_rng(7).random(len(times))})
store = FeatureStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    store.write_offline_features("g", frame, partition_by="day")
except FeatureStoreUnavailable as error:
    print(error)
"""


def frame_of(rows: int, value: float = 0.0) -> pd.DataFrame:
    times = pd.date_range("2024-01-01", periods=rows, freq="min", unit="us")
    numbers = np.random.default_rng(3).random(rows)
    return pd.DataFrame({"timestamp": times, "symbol": "A", "x": numbers + value, "y": numbers})


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path)


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and "_locks" not in path.parts}


@pytest.mark.parametrize(
    ("days", "limit", "name"),
    [(1, 500, ".parquet"), (200, 20_000, ".json")],
    ids=["in a data file", "in the commit"],
)
def test_a_file_that_finds_no_room_leaves_the_group_as_it_was(
    store: FeatureStore, tmp_path: Path, days: int, limit: int, name: str
) -> None:
    first = pd.DataFrame({"timestamp": pd.to_datetime(["2020-01-01"]), "symbol": "A", "x": 1.0})
    store.write_offline_features("g", first, partition_by="day")
    before = everything(tmp_path)
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(days), str(limit)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "File too large" in told
    assert name in told
    assert "nothing was changed" in told
    assert everything(tmp_path) == before
    assert len(store.read_offline_features("g")) == 1


def test_a_flipped_bit_is_found_and_its_column_named(store: FeatureStore, tmp_path: Path) -> None:
    store.write_offline_features("g", frame_of(5000), partition_by="year")
    [file] = tmp_path.rglob("*.parquet")
    metadata = pq.ParquetFile(file).metadata.row_group(0)
    [column] = [metadata.column(at) for at in range(5) if metadata.column(at).path_in_schema == "x"]
    content = bytearray(file.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptFeatures, match=rf"{file.name} is damaged in column 'x': .*restore it"):
        store.read_offline_features("g")
    assert len(store.read_offline_features("g", columns=["y"])) == 5000


def test_a_truncated_file_is_named_with_its_size(store: FeatureStore, tmp_path: Path) -> None:
    store.write_offline_features("g", frame_of(5000), partition_by="year")
    [file] = tmp_path.rglob("*.parquet")
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[: size // 2])
    with pytest.raises(CorruptFeatures, match=rf"{file.name} has {size // 2} bytes instead of {size}"):
        store.read_offline_features("g")


def test_the_newest_write_wins_though_the_clock_went_back(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        offset = timedelta(days=30)

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + cls.offset

    monkeypatch.setattr(offline_module, "datetime", Clock)
    store.write_offline_features("g", frame_of(3, value=1.0))
    Clock.offset = timedelta(days=-30)
    for value in (2.0, 3.0):
        store.write_offline_features("g", frame_of(3, value=value))
    assert store.read_offline_features("g")["x"].tolist() == frame_of(3, value=3.0)["x"].tolist()
