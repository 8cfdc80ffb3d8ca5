"""pandas, Arrow and Polars in and out: the same rows, the same refusals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlinfra.features import FeatureStore, InvalidFeatures

FRAME = pd.DataFrame(
    {
        "event_timestamp": pd.date_range("2024-01-01", periods=3, tz="UTC", unit="us"),
        "symbol": ["A", "B", "A"],
        "rsi": [1.5, np.nan, -3.0],
        "count": [1, 2, 3],
        "up": [True, False, True],
        "venue": ["a", None, "b"],
    }
)
TABLE = pa.table(
    {
        "event_timestamp": pa.array([19723, 19724, 19725], pa.int32())
        .cast(pa.date32())
        .cast(pa.timestamp("us", "UTC")),
        "symbol": ["A", "B", "A"],
        "rsi": [1.5, float("nan"), -3.0],
        "count": [1, 2, 3],
        "up": [True, False, True],
        "venue": ["a", None, "b"],
    }
)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path)


@pytest.mark.parametrize(
    "given",
    [
        lambda: FRAME,
        lambda: TABLE,
        lambda: TABLE.to_reader(max_chunksize=2),
        lambda: TABLE.to_batches()[0],
        lambda: pl.from_arrow(TABLE),
        lambda: pl.DataFrame(TABLE).with_columns(pl.col("symbol").cast(pl.Categorical)),
        lambda: TABLE.set_column(1, "symbol", TABLE["symbol"].dictionary_encode()),
        lambda: TABLE.set_column(0, "event_timestamp", TABLE[0].cast(pa.timestamp("s", "Asia/Tokyo"))),
    ],
)
def test_the_same_rows_of_every_kind_are_stored_alike(store: FeatureStore, given: Callable[[], Any]) -> None:
    assert store.write_offline_features("g", given(), entity_column="symbol") == 3
    pd.testing.assert_frame_equal(store.read_offline_features("g"), FRAME)


def test_rows_come_back_as_the_kind_that_is_asked_for(store: FeatureStore) -> None:
    store.write_offline_features("g", FRAME, entity_column="symbol")
    table = store.read_offline_features("g", as_="arrow")
    rows = TABLE.to_pylist()
    assert table.to_pylist() == [rows[0], rows[1] | {"rsi": None}, rows[2]]
    frame = store.read_offline_features("g", "2024-01-02", columns=["count"], as_="polars")
    assert isinstance(frame, pl.DataFrame)
    assert frame.rows() == [(row["event_timestamp"], row["symbol"], row["count"]) for row in rows[1:]]
    assert store.read_offline_features("g", "2025-01-01", as_="arrow").num_rows == 0
    with pytest.raises(InvalidFeatures, match="as_ is one of pandas, arrow, polars, not 'dask'"):
        store.read_offline_features("g", as_="dask")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (TABLE.slice(0, 0), "no rows"),
        (pl.DataFrame(), "no rows"),
        (pl.DataFrame(TABLE).lazy(), "collect a LazyFrame first.*not as LazyFrame"),
        ([{"symbol": "A"}], "not as list"),
        (TABLE.append_column("rsi", TABLE["rsi"]), "column 'rsi' is there more than once"),
        (TABLE.append_column("date", TABLE["count"]), "'date' is the name of the partition folders"),
        (TABLE.drop_columns(["event_timestamp"]), "no event time"),
        (TABLE.append_column("x", pa.array([1.0, float("inf"), None])), "'x'.* 1 infinite values, .* row 1"),
        (TABLE.append_column("x", pa.array([[1], [2], [3]])), "'x'.* has type list<.*cannot be stored"),
        (TABLE.append_column("x", pa.array([1, 2, 3], pa.decimal128(5, 2))), "'x'.*decimal128"),
        (TABLE.append_column("x", pa.nulls(3)), "the new columns x .* have only nulls"),
        (
            TABLE.set_column(0, "event_timestamp", TABLE[0].cast(pa.date32())),
            "'event_timestamp'.* has type date32.*convert it to a number, text, boolean or time",
        ),
        (
            TABLE.set_column(0, "event_timestamp", pa.array([None, *TABLE[0].to_pylist()[1:]])),
            "'event_timestamp'.* 1 rows without a time",
        ),
    ],
)
def test_what_cannot_be_stored_is_refused_alike(store: FeatureStore, given: Any, message: str) -> None:
    with pytest.raises(InvalidFeatures, match=message):
        store.write_offline_features("g", given, entity_column="symbol")
    assert store.list_feature_groups() == []


def test_a_reader_that_breaks_off_leaves_nothing(store: FeatureStore) -> None:
    def batches() -> Any:
        yield TABLE.to_batches()[0]
        raise pa.ArrowInvalid("the source broke off")

    with pytest.raises(InvalidFeatures, match="group 'g' cannot be read: the source broke off"):
        store.write_offline_features("g", pa.RecordBatchReader.from_batches(TABLE.schema, batches()))
    assert store.list_feature_groups() == []
