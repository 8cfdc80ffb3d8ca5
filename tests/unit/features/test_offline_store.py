"""Writing and reading feature groups: what round-trips, what is refused, and what a reader never sees."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlinfra.features import (
    CorruptFeatures,
    FeatureConflict,
    FeatureMetadata,
    FeatureStore,
    FeatureStoreUnavailable,
    InvalidDateRange,
    InvalidFeatures,
    UnknownFeature,
    UnknownFeatureGroup,
    get_feature_store,
)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "feature_store")


def rows(
    start: str = "2024-01-01", days: int = 3, *, symbol: str = "BTCUSDT", **columns: Any
) -> pd.DataFrame:
    features = columns or {"rsi": np.arange(days, dtype=float)}
    return pd.DataFrame(
        {"event_timestamp": pd.date_range(start, periods=days, unit="us"), "symbol": symbol} | features
    )


def parquet_files(store: FeatureStore) -> list[Path]:
    return sorted(store.root.rglob("*.parquet"))


def commit_files(store: FeatureStore, group: str = "g") -> list[Path]:
    return sorted((store.root / "offline" / group / "_commits").glob("*.json"))


def test_a_group_reads_back_as_it_was_written(store: FeatureStore) -> None:
    frame = rows(
        rsi=[1.5, np.nan, -3.0],
        count=[1, 2, 3],
        up=[True, False, True],
        venue=["a", None, "b"],
        price=np.array([1, 2, 3], dtype="float32"),
        settled=pd.DatetimeIndex(["2024-02-01", "NaT", "2024-02-03"]).as_unit("us"),
    )
    assert store.write_offline_features("g", frame, entity_column="symbol") == 3
    pd.testing.assert_frame_equal(store.read_offline_features("g"), frame)


def test_the_calls_of_the_guide_work_as_written_there(store: FeatureStore) -> None:
    store.write_offline_features("orderbook_features", rows("2024-12-30", days=4))
    df = store.read_offline_features(
        feature_group="orderbook_features", start_date="2024-01-01", end_date="2024-12-31"
    )
    assert len(df) == 2
    assert len(store.read_offline_features(feature_group="orderbook_features")) == 4


def test_rows_come_sorted_by_time_and_entity(store: FeatureStore) -> None:
    frame = pd.concat([rows(symbol="B"), rows(symbol="A")]).sample(frac=1, random_state=7)
    store.write_offline_features("g", frame)
    read = store.read_offline_features("g")
    assert read[["event_timestamp", "symbol"]].equals(
        read[["event_timestamp", "symbol"]].sort_values(["event_timestamp", "symbol"], ignore_index=True)
    )


def test_of_rows_with_one_key_the_newest_write_counts(store: FeatureStore) -> None:
    store.write_offline_features("g", rows(rsi=[1.0, 2.0, 3.0]))
    store.write_offline_features("g", rows("2024-01-02", rsi=[20.0, 30.0, 40.0]))
    assert store.read_offline_features("g")["rsi"].tolist() == [1.0, 20.0, 30.0, 40.0]


def test_the_same_rows_again_change_nothing_for_readers(store: FeatureStore) -> None:
    for _ in range(2):
        store.write_offline_features("g", rows())
    pd.testing.assert_frame_equal(store.read_offline_features("g"), rows())


def test_a_given_creation_time_decides_which_row_is_newest(store: FeatureStore) -> None:
    late = rows(days=1, rsi=[2.0], created_timestamp=pd.to_datetime(["2024-03-01T00:00:00Z"]))
    early = rows(days=1, rsi=[1.0], created_timestamp=pd.to_datetime(["2024-02-01T00:00:00Z"]))
    store.write_offline_features("g", late)
    store.write_offline_features("g", early)
    read = store.read_offline_features("g", columns=["rsi", "created_timestamp"])
    assert read["rsi"].tolist() == [2.0]
    assert read["created_timestamp"].tolist() == [pd.Timestamp("2024-03-01", tz="UTC")]


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        (None, None, [1, 2, 3, 4]),
        ("2024-01-02", None, [2, 3, 4]),
        (None, "2024-01-02", [1, 2]),
        ("2024-01-02", "2024-01-03", [2, 3]),
        ("2024-01-02", "2024-01-02", [2]),
        ("2023-01-01", "2023-12-31", []),
        ("2024-01-02T12:00:01", "2024-01-04T12:00:00", [3, 4]),
        (pd.Timestamp("2024-01-02T13:00", tz="Europe/Berlin"), "2024-01-02", [2]),
    ],
)
def test_both_ends_of_a_range_are_included(
    store: FeatureStore, start: Any, end: Any, days: list[int]
) -> None:
    store.write_offline_features("g", rows("2024-01-01T12:00", days=4), partition_by="day")
    read = store.read_offline_features("g", start, end)
    assert read["event_timestamp"].dt.day.tolist() == days
    assert read.dtypes.equals(store.read_offline_features("g").dtypes)


def test_a_range_opens_only_the_files_it_needs(store: FeatureStore) -> None:
    store.write_offline_features("g", rows(days=3), partition_by="day")
    first, *_ = parquet_files(store)
    first.unlink()
    assert len(store.read_offline_features("g", "2024-01-02", "2024-01-03")) == 2


def test_asked_columns_come_behind_time_and_entity(store: FeatureStore) -> None:
    store.write_offline_features("g", rows(a=[1, 2, 3], b=[1, 2, 3], c=[1, 2, 3]))
    read = store.read_offline_features("g", columns=["c", "a"])
    assert list(read) == ["event_timestamp", "symbol", "c", "a"]


def test_times_with_a_zone_are_kept_as_instants_in_utc(store: FeatureStore) -> None:
    frame = rows().assign(
        event_timestamp=pd.date_range("2024-01-01T00:30", periods=3, tz="Europe/Berlin", unit="us")
    )
    store.write_offline_features("g", frame, partition_by="day")
    read = store.read_offline_features("g")
    assert str(read["event_timestamp"].dtype) == "datetime64[us, UTC]"
    assert read["event_timestamp"].tolist() == frame["event_timestamp"].tolist()
    assert parquet_files(store)[0].parent.name == "date=2023-12-31"


def test_nanoseconds_are_kept_where_there_are_any(store: FeatureStore) -> None:
    times = pd.to_datetime(["2024-01-01T00:00:00.000000001", "2024-01-01T00:00:00.000000002"])
    store.write_offline_features("g", pd.DataFrame({"timestamp": times, "symbol": "A", "x": [1, 2]}))
    assert store.read_offline_features("g")["timestamp"].tolist() == times.tolist()


def test_an_index_of_times_is_the_event_time(store: FeatureStore) -> None:
    frame = rows().set_index("event_timestamp").rename_axis("Date")
    store.write_offline_features("g", frame)
    assert store.get_feature_group("g").time_column == "event_timestamp"
    pd.testing.assert_frame_equal(store.read_offline_features("g"), rows())


def test_a_group_keeps_its_own_name_of_the_event_time(store: FeatureStore) -> None:
    store.write_offline_features("g", rows().rename(columns={"event_timestamp": "timestamp"}))
    store.write_offline_features("g", rows("2024-01-04").set_index("event_timestamp"))
    assert list(store.read_offline_features("g")) == ["timestamp", "symbol", "rsi"]
    assert len(store.read_offline_features("g")) == 6


def test_levels_of_a_named_index_become_columns(store: FeatureStore) -> None:
    store.write_offline_features("g", rows().set_index(["symbol", "event_timestamp"]))
    assert store.get_feature_group("g").entity_column == "symbol"


def test_integers_with_nulls_are_not_rounded(store: FeatureStore) -> None:
    large = 2**53 + 1
    store.write_offline_features("g", rows(n=pd.array([large, None, 1], dtype="Int64")))
    assert store.read_offline_features("g")["n"].tolist() == [large, pd.NA, 1]


def test_a_new_column_is_null_in_older_rows(store: FeatureStore) -> None:
    store.write_offline_features("g", rows(days=2, a=[1.0, 2.0]))
    store.write_offline_features("g", rows("2024-01-03", days=1, a=[3.0], b=["x"]))
    read = store.read_offline_features("g")
    assert read["a"].tolist() == [1.0, 2.0, 3.0]
    assert read["b"].isna().tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("stored", "given"),
    [([1.0, 2.5], [3, 4]), ([1, 2], np.array([3, 4], dtype="int16")), ([1.0, 2.0], [None, None])],
)
def test_values_that_fit_the_stored_type_are_appended(store: FeatureStore, stored: Any, given: Any) -> None:
    store.write_offline_features("g", rows(days=2, x=stored))
    store.write_offline_features("g", rows("2024-02-01", days=2, x=given))
    assert store.read_offline_features("g")["x"].dtype == np.asarray(stored).dtype


@pytest.mark.parametrize(
    ("stored", "given", "types"),
    [
        ([1.0, 2.0], ["a", "b"], "double.*string"),
        ([1, 2], [1.5, 2.5], "int64.*double"),
        (["a", "b"], [1, 2], "string.*int64"),
        ([True, False], [1, 0], "bool.*int64"),
        ([1.0, 2.0], [1, 2**53 + 1], "double.*does not fit"),
    ],
)
def test_a_change_of_type_is_refused_with_column_and_types(
    store: FeatureStore, stored: Any, given: Any, types: str
) -> None:
    store.write_offline_features("g", rows(days=2, x=stored), entity_column="symbol")
    with pytest.raises(FeatureConflict, match=rf"column 'x' of feature group 'g' is {types}"):
        store.write_offline_features("g", rows("2024-02-01", days=2, x=given))
    assert len(store.read_offline_features("g")) == 2
    assert len(parquet_files(store)) == 1


def test_times_without_a_zone_do_not_mix_with_times_that_have_one(store: FeatureStore) -> None:
    store.write_offline_features("g", rows())
    aware = rows().assign(event_timestamp=lambda frame: frame["event_timestamp"].dt.tz_localize("UTC"))
    with pytest.raises(FeatureConflict, match=r"event_timestamp.*timestamp\[us\].*timestamp\[us, tz=UTC\]"):
        store.write_offline_features("g", aware)


def test_a_missing_column_is_refused(store: FeatureStore) -> None:
    store.write_offline_features("g", rows(a=[1, 2, 3], b=[1, 2, 3]))
    with pytest.raises(FeatureConflict, match="has the columns b, which are missing here"):
        store.write_offline_features("g", rows(a=[1, 2, 3]))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (rows().iloc[:0], "no rows"),
        (rows().drop(columns="event_timestamp"), "no event time"),
        (rows().drop(columns="symbol"), "which column is the entity's key\\? no column holds text"),
        (rows(venue=["a", "b", "c"]), "the columns symbol, venue all hold text"),
        (rows(x=[1.0, np.inf, -np.inf]), "column 'x'.* has 2 infinite values, the first in row 1"),
        (rows(x=[1, "a", None]), "column 'x'.* holds Python objects .*1 of type int"),
        (rows(x=[[1], [2], [3]]), "column 'x'.* holds Python objects"),
        (rows(x=pd.to_timedelta([1, 2, 3], unit="s")), "column 'x'.* has type timedelta64"),
        (rows(x=[None, None, None]), "the new columns x .* have only nulls"),
        (rows(x=[1 + 2j, 0j, 0j]), "column 'x'.*cannot be stored"),
        (rows(date=[1, 2, 3]), "'date' is the name of the partition folders"),
        (rows().rename(columns={"rsi": 7}), "column name 7 is not a text"),
        (pd.concat([rows(), rows()[["rsi"]]], axis=1), "column 'rsi' is there more than once"),
        (rows().assign(event_timestamp="2024-01-01"), "'event_timestamp'.* holds string, not times"),
        (
            rows().assign(event_timestamp=pd.DatetimeIndex(["NaT", "2024-01-01", "2024-01-02"])),
            "1 rows without a time",
        ),
        (
            rows().assign(
                event_timestamp=[pd.Timestamp("2024", tz=zone) for zone in ("UTC", "Asia/Tokyo", "UTC")]
            ),
            "'event_timestamp'.* Python objects .*pandas.to_datetime\\(..., utc=True\\)",
        ),
        (rows().assign(symbol=pd.Series(["A", None, "B"])), "entity column 'symbol'.* 1 rows without a key"),
        (rows(created_timestamp=[1, 2, 3]), "'created_timestamp'.* holds int64, not times"),
    ],
)
def test_rows_that_cannot_be_stored_are_refused_and_leave_nothing(
    store: FeatureStore, frame: pd.DataFrame, message: str
) -> None:
    with pytest.raises(InvalidFeatures, match=message):
        store.write_offline_features("g", frame)
    assert store.list_feature_groups() == []
    assert parquet_files(store) == []


@pytest.mark.parametrize("name", ["", "../g", "a/b", ".hidden", "x" * 129])
def test_a_name_that_is_no_folder_name_is_refused(store: FeatureStore, name: str) -> None:
    with pytest.raises(InvalidFeatures, match="cannot name a feature group"):
        store.write_offline_features(name, rows())
    with pytest.raises(UnknownFeatureGroup):
        store.read_offline_features(name)


def test_what_the_first_write_decided_is_not_changed_by_a_later_one(store: FeatureStore) -> None:
    store.write_offline_features("g", rows(venue=["a", "b", "c"]), entity_column="symbol", partition_by="day")
    with pytest.raises(FeatureConflict, match="has the entity column 'symbol', not 'venue'"):
        store.write_offline_features("g", rows(venue=["a", "b", "c"]), entity_column="venue")
    with pytest.raises(FeatureConflict, match="is kept by day, not by year"):
        store.write_offline_features("g", rows(venue=["a", "b", "c"]), partition_by="year")


def test_unknown_names_are_answered_with_those_there_are(store: FeatureStore) -> None:
    with pytest.raises(UnknownFeatureGroup, match="there are none yet"):
        store.read_offline_features("sp500")
    store.write_offline_features("sp500_daily", rows(rsi_14=[1, 2, 3]))
    with pytest.raises(UnknownFeatureGroup, match="did you mean sp500_daily"):
        store.read_offline_features("sp500_dialy")
    with pytest.raises(UnknownFeature, match="no column 'rsi14': did you mean rsi_14"):
        store.read_offline_features("sp500_daily", columns=["rsi14"])


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2024-02-30", None, "start_date '2024-02-30' is no date; write it as YYYY-MM-DD"),
        (None, "yesterday", "end_date 'yesterday' is no date"),
        (None, "2024", "end_date '2024' is no date"),
        ("2024-01-02", "2024-01-01", "start_date 2024-01-02 is after end_date 2024-01-01"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(
    store: FeatureStore, start: str | None, end: str | None, message: str
) -> None:
    store.write_offline_features("g", rows())
    with pytest.raises(InvalidDateRange, match=message):
        store.read_offline_features("g", start, end)


def test_files_that_no_commit_names_are_not_read(store: FeatureStore) -> None:
    store.write_offline_features("g", rows())
    written = parquet_files(store)[0]
    written.with_name("0123.parquet").write_bytes(written.read_bytes())
    (commit_files(store)[0].parent / ".00000000000000000002.json.x.tmp").write_text('{"format": 1, "comm')
    pd.testing.assert_frame_equal(store.read_offline_features("g"), rows())
    store.write_offline_features("g", rows("2024-02-01"))
    assert len(store.read_offline_features("g")) == 6


def test_files_without_any_commit_make_no_group(store: FeatureStore) -> None:
    store.write_offline_features("g", rows())
    for commit in commit_files(store):
        commit.unlink()
    assert store.list_feature_groups() == []
    with pytest.raises(UnknownFeatureGroup):
        store.read_offline_features("g")


def test_a_damaged_file_is_named(store: FeatureStore) -> None:
    store.write_offline_features("g", rows())
    [file] = parquet_files(store)
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    with pytest.raises(CorruptFeatures, match=rf"{file} has \d+ bytes instead of {len(content)}"):
        store.read_offline_features("g")
    file.write_bytes(b"\0" * len(content))
    with pytest.raises(CorruptFeatures, match=file.name):
        store.read_offline_features("g")
    file.unlink()
    with pytest.raises(CorruptFeatures, match=rf"{file} is missing"):
        store.read_offline_features("g")


def test_a_damaged_or_missing_commit_is_named(store: FeatureStore) -> None:
    for day in range(1, 4):
        store.write_offline_features("g", rows(f"2024-01-0{day}", days=1, rsi=[1.0]))
    commit_files(store)[-1].write_text("{")
    with pytest.raises(CorruptFeatures, match=r"00000000000000000003\.json is not a commit"):
        store.read_offline_features("g")
    commit_files(store)[1].unlink()
    with pytest.raises(CorruptFeatures, match=r"00000000000000000002\.json is missing"):
        store.read_offline_features("g")


def test_a_commit_of_a_later_format_is_refused(store: FeatureStore) -> None:
    store.write_offline_features("g", rows())
    [commit] = commit_files(store)
    commit.write_text(json.dumps(json.loads(commit.read_text()) | {"format": 2}))
    with pytest.raises(CorruptFeatures, match="has format 2, and this release reads format 1"):
        store.read_offline_features("g")


def test_checkpoints_let_a_reader_leave_older_commits_unread(store: FeatureStore) -> None:
    for day in range(66):
        store.write_offline_features("g", rows(str(np.datetime64("2024-01-01") + day), days=1, rsi=[1.0]))
    for commit in commit_files(store)[:63]:
        commit.unlink()
    assert len(store.read_offline_features("g")) == 66


def test_a_full_disk_is_told_and_leaves_nothing(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_offline_features("g", rows())

    def no_space(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("mlinfra.features.files.write", no_space)
    with pytest.raises(FeatureStoreUnavailable, match=r"No space left on device .*nothing was changed"):
        store.write_offline_features("g", rows("2024-02-01"))
    assert len(parquet_files(store)) == 1
    assert len(store.read_offline_features("g")) == 3


def test_the_root_comes_from_the_argument_the_environment_or_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLINFRA_FEATURE_STORE_URI", raising=False)
    assert get_feature_store().root == Path("data/feature_store")
    monkeypatch.setenv("MLINFRA_FEATURE_STORE_URI", f"file://{tmp_path}/a%20b")
    assert get_feature_store().root == tmp_path / "a b"
    assert get_feature_store(tmp_path).root == tmp_path
    assert get_feature_store(str(tmp_path)).root == tmp_path
    with pytest.raises(FeatureStoreUnavailable, match=r"unheard://host/x: .*use a folder"):
        get_feature_store("unheard://user:secret@host/x")
    with pytest.raises(FeatureStoreUnavailable, match="a file URI is written file:///absolute/path"):
        get_feature_store("file://elsewhere/features")


def test_a_place_that_is_no_folder_is_told_and_not_tried_further(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    store = FeatureStore(tmp_path / "store")
    for attempt in (
        lambda: store.write_offline_features("g", rows()),
        lambda: store.register_feature(FeatureMetadata(name="rsi")),
    ):
        with pytest.raises(FeatureStoreUnavailable, match=r"Not a directory .*nothing was changed"):
            attempt()
