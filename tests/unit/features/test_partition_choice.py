"""Which period one folder of a group holds."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.features import FeatureStore, PartitionBy
from mlinfra.features.partitions import choose_partition, split_by_period


def times(count: int, step: timedelta) -> npt.NDArray[np.datetime64[Any]]:
    return pd.date_range("2024-01-01", periods=count, freq=step, unit="us").to_numpy()


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        (times(5000, timedelta(days=1)), "year"),
        (times(24 * 365, timedelta(hours=1)), "year"),
        (times(60 * 24 * 60, timedelta(minutes=1)), "day"),
        (times(24 * 12 * 365, timedelta(minutes=5)), "month"),
        (times(1, timedelta(days=1)), "year"),
    ],
    ids=["daily", "hourly", "by minute", "by five minutes", "one row"],
)
def test_the_finest_period_with_a_thousand_rows_a_folder_is_chosen(
    rows: npt.NDArray[np.datetime64[Any]], chosen: str
) -> None:
    assert choose_partition(rows) == chosen


@pytest.mark.parametrize(
    ("partition_by", "folder"), [("day", "date=2024-03-17"), ("month", "date=2024-03"), ("year", "date=2024")]
)
def test_a_folder_is_named_by_its_period(tmp_path: Path, partition_by: PartitionBy, folder: str) -> None:
    frame = pd.DataFrame({"timestamp": [pd.Timestamp("2024-03-17T23:59:59")], "symbol": "A", "x": 1})
    FeatureStore(tmp_path).write_offline_features("g", frame, partition_by=partition_by)
    [file] = tmp_path.rglob("*.parquet")
    assert file.relative_to(tmp_path).parent == Path("offline/g") / folder


@given(
    moments=st.lists(st.integers(-(10**15), 10**16), min_size=1, max_size=50),
    partition_by=st.sampled_from(["day", "month", "year"]),
)
def test_every_row_is_in_the_folder_of_its_period(moments: list[int], partition_by: PartitionBy) -> None:
    rows = np.sort(np.array(moments, dtype="datetime64[us]"))
    parts = list(split_by_period(rows, partition_by))
    assert np.concatenate([rows[part] for _, part in parts]).tolist() == rows.tolist()
    assert len({folder for folder, _ in parts}) == len(parts)
    for folder, part in parts:
        assert all(str(moment).startswith(folder.removeprefix("date=")) for moment in rows[part])
