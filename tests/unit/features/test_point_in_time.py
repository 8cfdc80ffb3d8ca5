"""The point-in-time join: which frames it takes and gives, what it reads, and what it refuses."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlinfra.features import (
    CorruptFeatures,
    FeatureConflict,
    FeatureStore,
    FeatureStoreUnavailable,
    InvalidDateRange,
    InvalidFeatures,
    JoinSettings,
    UnknownFeature,
    UnknownFeatureGroup,
)

DAYS = pd.date_range("2024-01-01", periods=4, unit="us")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Prices of two symbols on four days, and moods that are known of the whole market."""
    store = FeatureStore(tmp_path / "feature_store")
    store.write_offline_features(
        "prices",
        pd.DataFrame(
            {
                "event_timestamp": DAYS.repeat(2),
                "symbol": ["A", "B"] * 4,
                "close": np.arange(8.0),
                "trades": np.arange(8),
                "venue": ["x", "y"] * 4,
            }
        ),
        entity_column="symbol",
        partition_by="day",
    )
    store.write_offline_features(
        "moods",
        pd.DataFrame({"event_timestamp": DAYS, "market": [7] * 4, "close": [0.5, 1.5, 2.5, 3.5]}),
        entity_column="market",
    )
    return store


def rows(*pairs: tuple[str | None, str], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "symbol": [symbol for symbol, _ in pairs],
            "event_timestamp": pd.DatetimeIndex([moment for _, moment in pairs]).as_unit("us"),
        }
        | columns
    )


def test_each_row_gets_what_was_there_by_its_time(store: FeatureStore) -> None:
    asked = rows(("B", "2024-01-02 12:00"), ("A", "2024-01-02"), ("A", "2023-12-31"), up=[True, False, True])
    joined = store.get_training_features(asked, ["prices:close", "prices:trades"])
    expected = asked.assign(close=[3.0, 2.0, np.nan], trades=pd.array([3, 2, None], dtype="Int64"))
    pd.testing.assert_frame_equal(joined, expected)


def test_order_index_and_duplicates_stay(store: FeatureStore) -> None:
    asked = rows(("B", "2024-01-03"), ("A", "2024-01-01"), ("B", "2024-01-03"), ("Z", "2024-01-03"))
    asked.index = pd.Index(["k", "k", "l", "k"], name="trade")
    joined = store.get_training_features(asked, ["prices:close"])
    pd.testing.assert_frame_equal(joined, asked.assign(close=[5.0, 0.0, 5.0, np.nan]))


def test_no_rows_give_no_rows_with_every_column(store: FeatureStore) -> None:
    joined = store.get_training_features(rows().astype({"symbol": "str"}), ["prices"])
    assert list(joined) == ["symbol", "event_timestamp", "close", "trades", "venue"]
    assert len(joined) == 0
    assert joined["close"].dtype == np.float64


def test_arrow_in_arrow_out(store: FeatureStore) -> None:
    asked = pa.table(rows(("A", "2024-01-02"), (None, "2024-01-02")))
    joined = store.get_training_features(asked, ["prices:close", "prices:venue"])
    assert isinstance(joined, pa.Table)
    assert joined.select(asked.column_names).equals(asked)
    assert joined.select(["close", "venue"]).to_pydict() == {"close": [2.0, None], "venue": ["x", None]}


def test_polars_in_polars_out(store: FeatureStore) -> None:
    asked = pl.DataFrame(rows(("A", "2024-01-02"), ("B", "2024-01-09"))).with_columns(
        pl.col("symbol").cast(pl.Categorical)
    )
    joined = store.get_training_features(asked, ["prices"], ttl=timedelta(days=2))
    assert isinstance(joined, pl.DataFrame)
    assert joined.select(asked.columns).equals(asked)
    assert joined.select("close", "trades", "venue").rows() == [(2.0, 2, "x"), (None, None, None)]


@pytest.mark.parametrize(
    "keys",
    [
        pd.Series(["A", None, "B"], dtype="category"),
        pa.table(pl.DataFrame({"k": pl.Series(["A", None, "B"], dtype=pl.Categorical)})).column("k"),
        pa.chunked_array([["A", None], ["B"]], pa.large_string()),
        pa.array(["A", None, "B"], pa.string_view()),
    ],
)
def test_texts_are_keys_however_they_are_kept(store: FeatureStore, keys: Any) -> None:
    times = pa.array([DAYS[1]] * 3, pa.timestamp("s", "Asia/Tokyo"))
    asked = pa.table({"symbol": pa.Array.from_pandas(keys) if isinstance(keys, pd.Series) else keys})
    joined = store.get_training_features(asked.append_column("timestamp", times), ["prices:trades"])
    assert joined.column("trades").to_pylist() == [2, None, 3]


def test_numbers_that_are_whole_are_keys_of_integers(store: FeatureStore) -> None:
    asked = pl.DataFrame({"market": [7.0, float("nan"), None], "event_timestamp": [DAYS[1]] * 3})
    joined = store.get_training_features(asked, ["moods:close"])
    assert joined["close"].to_list() == [1.5, None, None]


def test_an_index_of_times_is_the_time(store: FeatureStore) -> None:
    asked = pd.DataFrame({"symbol": ["B"]}, index=pd.DatetimeIndex(["2024-01-03"], tz="Asia/Tokyo"))
    joined = store.get_training_features(asked, ["prices:close"])
    pd.testing.assert_frame_equal(joined, asked.assign(close=[3.0]))


def test_the_time_column_can_be_named(store: FeatureStore) -> None:
    asked = rows(("A", "2024-01-01")).assign(settled=pd.DatetimeIndex(["2024-01-04"]))
    joined = store.get_training_features(asked, ["prices:close"], time_column="settled")
    assert joined["close"].tolist() == [6.0]


def test_as_old_as_the_ttl_still_counts(store: FeatureStore) -> None:
    asked = rows(("A", "2024-01-06"), ("A", "2024-01-06 00:00:00.000001"), ("A", "2024-01-02"))
    joined = store.get_training_features(asked, ["prices:close"], ttl=timedelta(days=2))
    assert joined["close"].fillna(-1).tolist() == [6.0, -1.0, 2.0]


def test_each_group_may_have_a_ttl_of_its_own(store: FeatureStore) -> None:
    asked = rows(("A", "2024-01-09"), market=[7])
    joined = store.get_training_features(
        asked, ["prices:close", "moods:close"], ttl={"moods": timedelta(days=1)}, full_feature_names=True
    )
    assert joined["prices__close"].tolist() == [6.0]
    assert joined["moods__close"].isna().all()


def test_known_at_hides_what_was_created_later(store: FeatureStore) -> None:
    for close, created in ((10.0, "2024-02-01"), (20.0, "2024-02-03")):
        store.write_offline_features(
            "late",
            rows(
                ("A", "2024-01-01"),
                close=[close],
                created_timestamp=pd.DatetimeIndex([created], tz="UTC"),
            ),
        )
    asked = rows(("A", "2024-01-05"))
    known = ["2024-01-31", date(2024, 2, 1), "2024-02-02 23:00:00+00:00", "2024-02-03", None]
    joined = [
        store.get_training_features(asked, ["late:close"], known_at=moment)["close"].iloc[0]
        for moment in known
    ]
    assert np.nan_to_num(joined, nan=-1.0).tolist() == [-1.0, 10.0, 10.0, 20.0, 20.0]


def test_integers_with_missing_ones_are_keys_too(store: FeatureStore) -> None:
    asked = pd.DataFrame({"market": [7.0, np.nan], "event_timestamp": DAYS[:2]})
    joined = store.get_training_features(asked, ["moods:close"])
    assert joined["close"].fillna(-1).tolist() == [0.5, -1.0]


def test_a_column_that_came_later_is_null_before(store: FeatureStore) -> None:
    store.write_offline_features(
        "prices",
        rows(("A", "2024-01-05"), close=[9.0], trades=[9], venue=["x"], spread=[0.1]),
    )
    joined = store.get_training_features(rows(("A", "2024-01-04"), ("A", "2024-01-05")), ["prices:spread"])
    assert joined["spread"].fillna(-1).tolist() == [-1.0, 0.1]


def test_the_time_and_creation_of_what_was_found_can_be_asked_for(store: FeatureStore) -> None:
    joined = store.get_training_features(
        rows(("A", "2024-01-09")),
        ["prices:event_timestamp", "prices:created_timestamp"],
        full_feature_names=True,
    )
    assert joined["prices__event_timestamp"].tolist() == [DAYS[3]]
    assert joined["prices__created_timestamp"].notna().all()


def test_only_files_of_the_period_are_read(store: FeatureStore) -> None:
    for day in ("2024-01-01", "2024-01-04"):
        next((store.root / "offline" / "prices" / f"date={day}").glob("*.parquet")).unlink()
    asked = rows(("A", "2024-01-03 12:00"))
    joined = store.get_training_features(asked, ["prices:close"], ttl=timedelta(days=2))
    assert joined["close"].tolist() == [4.0]
    with pytest.raises(CorruptFeatures, match=r"date=2024-01-01.*is missing"):
        store.get_training_features(asked, ["prices:close"])


def test_nothing_is_left_in_the_working_folder(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    store.get_training_features(rows(("A", "2024-01-02")), ["prices"])
    assert sorted(tmp_path.iterdir()) == before


def test_a_join_within_little_memory_gives_the_same(store: FeatureStore, tmp_path: Path) -> None:
    asked = pd.concat([rows(("A", "2024-01-02"), ("B", "2024-01-03"))] * 5_000, ignore_index=True)
    temp_folder = tmp_path / "temp"
    settings = JoinSettings(memory_limit="24MB", temp_folder=temp_folder)
    small = store.get_training_features(asked, ["prices"], settings=settings)
    assert list(temp_folder.rglob("*")) == []
    pd.testing.assert_frame_equal(small, store.get_training_features(asked, ["prices"]))


def test_too_little_memory_is_told(store: FeatureStore) -> None:
    asked = pd.concat([rows(("A", "2024-01-02"))] * 5_000, ignore_index=True)
    with pytest.raises(FeatureStoreUnavailable, match="memory_limit"):
        store.get_training_features(asked, ["prices"], settings=JoinSettings(memory_limit="1MB"))


def test_two_features_of_one_name_are_refused(store: FeatureStore) -> None:
    asked = rows(("A", "2024-01-02"), market=[7])
    with pytest.raises(FeatureConflict, match=r"'close'.*'prices' and from .*'moods'.*full_feature_names"):
        store.get_training_features(asked, ["prices:close", "moods:close"])
    with pytest.raises(FeatureConflict, match=r"'close'.*entity_rows and from .*'prices'"):
        store.get_training_features(asked.assign(close=1), ["prices:close"])


def test_asking_twice_gives_a_feature_once(store: FeatureStore) -> None:
    joined = store.get_training_features(rows(("A", "2024-01-02")), ["prices:venue", "prices", "prices"])
    assert list(joined) == ["symbol", "event_timestamp", "venue", "close", "trades"]


ASKED = rows(("A", "2024-01-02"))


@pytest.mark.parametrize(
    ("asked", "features", "options", "error", "told"),
    [
        (ASKED, ["price:close"], {}, UnknownFeatureGroup, "did you mean prices"),
        (ASKED, ["prices:clsoe"], {}, UnknownFeature, "did you mean close"),
        (ASKED, ["prices:"], {}, UnknownFeature, "no feature ''"),
        (ASKED, "prices:close", {}, InvalidFeatures, "features is a list"),
        (ASKED, [], {}, InvalidFeatures, "features is a list"),
        (ASKED, [3], {}, InvalidFeatures, "not by 3"),
        (ASKED, ["moods"], {}, InvalidFeatures, "no column 'market', the key of feature group 'moods'"),
        (ASKED.assign(market="7"), ["moods"], {}, FeatureConflict, "'market' .* are int64; convert"),
        (ASKED.assign(symbol=1), ["prices"], {}, FeatureConflict, r"'symbol' .* astype\('str'\)"),
        (ASKED.assign(market=7.5), ["moods"], {}, FeatureConflict, "'market' .* value that is no int64"),
        (ASKED.assign(symbol=[("A",)]), ["prices"], {}, FeatureConflict, "'symbol'"),
        (ASKED.drop(columns="event_timestamp"), ["prices"], {}, InvalidFeatures, "time_column="),
        (ASKED, ["prices"], {"time_column": "when"}, InvalidFeatures, "no column 'when'"),
        (ASKED.assign(event_timestamp="2024"), ["prices"], {}, InvalidFeatures, "not times"),
        (ASKED.assign(event_timestamp=pd.NaT), ["prices"], {}, InvalidFeatures, "1 rows without a time"),
        (pd.concat([ASKED, ASKED], axis=1), ["prices"], {}, InvalidFeatures, "'symbol' more than once"),
        (ASKED.to_dict("list"), ["prices"], {}, InvalidFeatures, "not dict"),
        (pl.LazyFrame(ASKED), ["prices"], {}, InvalidFeatures, "collect a LazyFrame"),
        (ASKED, ["prices"], {"ttl": 7}, InvalidFeatures, "timedelta"),
        (ASKED, ["prices"], {"ttl": timedelta(0)}, InvalidFeatures, "longer than zero"),
        (ASKED, ["prices"], {"ttl": {"moods": None}}, UnknownFeatureGroup, "ttl names .* 'moods'"),
        (ASKED, ["prices"], {"settings": JoinSettings(memory_limit="much")}, InvalidFeatures, "'much'"),
        (ASKED, ["prices"], {"known_at": "soon"}, InvalidDateRange, "known_at 'soon'"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    store: FeatureStore,
    asked: Any,
    features: Any,
    options: dict[str, Any],
    error: type[Exception],
    told: str,
) -> None:
    with pytest.raises(error, match=told):
        store.get_training_features(asked, features, **options)


def test_a_damaged_file_is_named(store: FeatureStore) -> None:
    path = next((store.root / "offline" / "prices" / "date=2024-01-02").glob("*.parquet"))
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(CorruptFeatures, match=path.name):
        store.get_training_features(rows(("A", "2024-01-02")), ["prices"])


def test_moments_beyond_what_nanoseconds_hold_find_what_is_before_them(store: FeatureStore) -> None:
    store.write_offline_features(
        "fine", rows(("A", "2024-01-01")).assign(event_timestamp=pd.Timestamp(1, unit="ns"), close=1.0)
    )
    far = pa.table({"symbol": ["A", "A"], "event_timestamp": pa.array([2**62, -(2**62)], pa.timestamp("us"))})
    joined = store.get_training_features(far, ["fine:close", "prices:trades"], ttl={"fine": None})
    assert joined.column("close").to_pylist() == [1.0, None]
    assert joined.column("trades").to_pylist() == [6, None]
    expired = store.get_training_features(far, ["fine:close"], ttl=timedelta.max)
    assert expired.column("close").to_pylist() == [1.0, None]
