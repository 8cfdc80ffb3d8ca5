"""The online calls as users make them, and what they say to bad input."""

from datetime import datetime, timedelta
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
    FeatureStatus,
    FeatureStore,
    InvalidFeatures,
    UnknownFeature,
    UnknownFeatureGroup,
)
from mlinfra.features.online.environment import Environment

PRESENT, NULL, MISSING, EXPIRED = FeatureStatus
DAY = pd.Timestamp("2024-03-01", tz="UTC")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path, clock=lambda: DAY.value)


def test_a_vector_comes_back_as_it_was_written(store: FeatureStore) -> None:
    assert store.read_online_features("BTCUSDT") is None
    store.write_online_features("BTCUSDT", np.array([0.5, np.nan, 3]))
    store.write_online_features("ETHUSDT", np.array([1, 2], np.int64))
    np.testing.assert_array_equal(store.read_online_features("BTCUSDT"), [0.5, np.nan, 3])
    np.testing.assert_array_equal(store.read_online_features("ETHUSDT"), [1, 2])
    assert store.read_online_features("XRPUSDT") is None


def test_a_vector_is_replaced_whole_by_the_next(store: FeatureStore) -> None:
    store.write_online_features("BTCUSDT", np.array([1.0, 2.0, 3.0]))
    store.write_online_features("BTCUSDT", np.array([7.0]))
    np.testing.assert_array_equal(store.read_online_features("BTCUSDT"), [7])


def test_an_expired_vector_is_not_given(store: FeatureStore) -> None:
    store.write_online_features("BTCUSDT", [1.0], event_timestamp=DAY - timedelta(minutes=1))
    assert store.read_online_features("BTCUSDT", ttl=timedelta(seconds=60)) is not None
    assert store.read_online_features("BTCUSDT", ttl=timedelta(seconds=59)) is None


def test_every_type_comes_back_exactly(store: FeatureStore) -> None:
    frame = pd.DataFrame(
        {
            "count": pd.array([2**62 + 1, None, -3], "Int64"),
            "size": pd.array([2**64 - 1, None, 7], "UInt64"),
            "up": pd.array([True, None, False], "boolean"),
            "name": ["é", None, ""],
            "at": pd.to_datetime(
                ["2024-01-01 00:00:00.000001", None, "2024-01-02 00:00:00.000000"], utc=True
            ),
            "price": [1.5, np.nan, -0.25],
            "event_timestamp": [DAY, DAY, DAY],
        }
    )
    store.write_online_features([1, 2, 3], frame, feature_group="mixed")
    read = store.read_online_features([3, 1, 2], feature_group="mixed")
    expected = (
        frame.drop(columns="event_timestamp").iloc[[2, 0, 1]].set_index(pd.Index([3, 1, 2], name="entity"))
    )
    pd.testing.assert_frame_equal(read.to_pandas(), expected, check_dtype=False)
    assert (read.event_timestamps == np.datetime64("2024-03-01")).all()
    assert read.status.tolist()[1:] == [[PRESENT] * 6, [NULL] * 6]
    assert np.isnan(read.values[:, 3:5]).all()


def test_arrow_and_polars_frames_are_written_as_pandas_ones(store: FeatureStore) -> None:
    columns = {"symbol": ["a", "b"], "x": [1, 2], "word": ["é", None]}
    timed = pa.table(
        {**columns, "timestamp": pa.array([DAY, DAY - timedelta(days=1)], pa.timestamp("us", "UTC"))}
    )
    store.write_online_features(timed["symbol"], timed.drop_columns("symbol"), feature_group="arrow")
    frame = pl.DataFrame(columns)
    store.write_online_features(frame["symbol"], frame.drop("symbol"), feature_group="polars")
    for group in ("arrow", "polars"):
        read = store.read_online_features(["b", "a"], feature_group=group)
        assert read.to_arrow().to_pydict() == {"x": [2, 1], "word": [None, "é"]}
    assert store.read_online_features("b", feature_group="arrow", ttl=timedelta(hours=23)).status.all()


def test_status_tells_why_there_is_no_value(store: FeatureStore) -> None:
    store.write_online_features(
        "old", {"x": 1.0}, feature_group="g", event_timestamp=DAY - timedelta(hours=2)
    )
    store.write_online_features("before", {"x": 1.0}, feature_group="g", event_timestamp=DAY)
    store.write_online_features("new", {"x": None, "y": 2.0}, feature_group="g", event_timestamp=DAY)
    reader = store.prepare_online(feature_group="g", ttl=timedelta(hours=1))
    answer = reader.read(["old", "before", "new", "nobody"])
    assert answer.status.tolist() == [
        [EXPIRED, MISSING],
        [PRESENT, MISSING],
        [NULL, PRESENT],
        [MISSING, MISSING],
    ]
    np.testing.assert_array_equal(answer.values, [[np.nan] * 2, [1, np.nan], [np.nan, 2], [np.nan] * 2])
    assert np.isnat(answer.event_timestamps).tolist() == [False, False, False, True]


def test_readers_prepared_before_a_feature_was_added_stay_right(store: FeatureStore) -> None:
    store.write_online_features(["a", "b"], [[1.0], [2.0]], feature_group="g", features=["x"])
    reader = store.prepare_online(feature_group="g", dtype=np.float32)
    assert reader.read("a").values.dtype == np.float32
    store.write_online_features("b", {"x": 3.0, "y": 4.0}, feature_group="g")
    assert reader.features == ("x",)
    assert reader.read(["a", "b"]).values.tolist() == [[1], [3]]
    assert reader.read([]).values.shape == (0, 1)
    assert store.prepare_online(feature_group="g", features=["y", "x"]).read("b").values.tolist() == [[4, 3]]


def test_older_events_stay_out_unless_forced(store: FeatureStore) -> None:
    def write(value: float, moment: str, *, force: bool = False) -> int:
        return store.write_online_features(
            "a", [value], feature_group="g", features=["x"], event_timestamp=moment, force=force
        )

    def read() -> float:
        return float(store.read_online_features("a", feature_group="g").values[0, 0])

    assert write(1, "2024-01-02") == 1
    assert write(2, "2024-01-01") == 0
    assert read() == 1
    assert write(3, "2024-01-02T00:00:00Z") == 1
    assert read() == 3
    assert write(4, "2024-01-01", force=True) == 1
    assert read() == 4


def test_versions_do_not_touch_each_other(store: FeatureStore) -> None:
    store.write_online_features("a", {"x": 1}, feature_group="g")
    store.write_online_features("a", {"x": "text"}, feature_group="g", version="2.0")
    assert store.read_online_features("a", feature_group="g").to_pandas()["x"].tolist() == [1]
    second = store.read_online_features("a", feature_group="g", version="2.0")
    assert second.to_pandas()["x"].tolist() == ["text"]
    assert [(group.name, group.version) for group in store.list_online_groups()] == [
        ("g", "1.0"),
        ("g", "2.0"),
    ]


BAD_WRITES: list[tuple[Any, Any, dict[str, Any], str]] = [
    ("a", [np.inf], {}, "entity 'a' is inf"),
    ("a", ["text"], {}, "not numbers"),
    ("a", np.array([2**60]), {}, "'0' of entity 'a'"),
    (["a", "b"], np.ones(2), {}, r"shape \(2,\)"),
    ("a", [], {}, "shape"),
    ([], np.ones((0, 2)), {}, "no entity key"),
    (["a", 1], np.ones((2, 2)), {}, "entity key 'a' is a str; keys are all"),
    (True, [1.0], {}, "entity key True"),
    ("k" * 501, [1.0], {}, "longer than 500 bytes"),
    ("\ud800", [1.0], {}, "is no text"),
    ("a", {"x": 1.0}, {}, "give feature_group"),
    ("a", [1.0], {"feature_group": "g"}, "give features="),
    ("a", {"x": 1.0}, {"feature_group": "_g"}, "'_g' cannot name"),
    ("a", {"x": None}, {"feature_group": "g"}, "only nulls"),
    ("a", {"x": np.inf}, {"feature_group": "g"}, "infinite"),
    ("a", {"x": object()}, {"feature_group": "g"}, "Python objects"),
    ("a", {}, {"feature_group": "g"}, "no features"),
    (["a"], pd.DataFrame({"x": [1, 2]}), {"feature_group": "g"}, "2 rows of values are given for 1 keys"),
    ("a", [1.0], {"event_timestamp": "never"}, "event_timestamp"),
    ("a", [1.0], {"event_timestamp": pd.NaT}, "without a time"),
    ("a", [1.0], {"event_timestamp": [DAY, DAY]}, "2 times for 1"),
    ("a", [1.0], {"event_timestamp": "3000-01-01"}, "event_timestamp"),
    ("a", {"x": 1.0, "timestamp": datetime(3000, 1, 1)}, {"feature_group": "g"}, "1677 to 2262"),
    ("a", {"x": 1.0, "timestamp": DAY}, {"feature_group": "g", "event_timestamp": DAY}, "given twice"),
]


@pytest.mark.parametrize(("keys", "values", "options", "message"), BAD_WRITES)
def test_bad_input_is_named_and_nothing_is_written(
    store: FeatureStore, keys: Any, values: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidFeatures, match=message):
        store.write_online_features(keys, values, **options)
    assert store.list_online_groups() == []


def test_contradictions_are_refused_by_name(store: FeatureStore) -> None:
    store.write_online_features("a", {"x": 1, "y": 2.0}, feature_group="g")
    with pytest.raises(FeatureConflict, match="features y, which are missing"):
        store.write_online_features("a", {"x": 1}, feature_group="g")
    with pytest.raises(FeatureConflict, match=r"'x' .* is int64, and the values given are double"):
        store.write_online_features("a", {"x": 1.5, "y": 2.0}, feature_group="g")
    with pytest.raises(FeatureConflict, match="does not fit"):
        store.write_online_features("a", {"x": 1, "y": 2**60 + 1}, feature_group="g")
    with pytest.raises(FeatureConflict, match="are texts, and those given are integers"):
        store.write_online_features(7, {"x": 1, "y": 2.0}, feature_group="g")
    assert store.read_online_features("a", feature_group="g").values.tolist() == [[1, 2]]


def test_unknown_names_come_with_those_there_are(store: FeatureStore) -> None:
    store.write_online_features("a", {"close": 1.0}, feature_group="prices")
    with pytest.raises(UnknownFeatureGroup, match="did you mean prices"):
        store.prepare_online(feature_group="price")
    with pytest.raises(UnknownFeatureGroup, match=r"no version '2.0' online: .* 1.0"):
        store.prepare_online(feature_group="prices", version="2.0")
    with pytest.raises(UnknownFeature, match="did you mean close"):
        store.prepare_online(feature_group="prices", features=["closed"])
    with pytest.raises(InvalidFeatures, match="entity key 5 is no text"):
        store.read_online_features([5], feature_group="prices")
    with pytest.raises(InvalidFeatures, match="give feature_group"):
        store.read_online_features(["a", "b"])  # type: ignore[call-overload]


def test_the_map_grows_by_itself(tmp_path: Path) -> None:
    small = Environment(tmp_path, map_bytes=1 << 16)
    for number in range(64):
        small.write(lambda each, of, key=b"%d" % number: each.put(key, bytes(1 << 14), db=of["rows"]))
    assert small.read(lambda each, of: each.stat(of["rows"])["entries"]) == 64


@pytest.mark.parametrize("content", [b"", b"no database", bytes(8192), b"\xff" * 40960])
def test_a_file_that_is_no_store_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "online" / "data.mdb"
    file.parent.mkdir()
    file.write_bytes(content)
    if not content:
        FeatureStore(tmp_path).write_online_features("a", [1.0])
        return
    with pytest.raises(CorruptFeatures, match=r"data\.mdb"):
        FeatureStore(tmp_path).read_online_features("a")


def test_a_truncated_file_is_named_and_does_not_end_the_process(tmp_path: Path) -> None:
    FeatureStore(tmp_path).write_online_features([str(n) for n in range(1000)], np.ones((1000, 20)))
    file = tmp_path / "online" / "data.mdb"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)
    with pytest.raises(CorruptFeatures, match=r"data.mdb has \d+ bytes instead of \d+"):
        FeatureStore(tmp_path).read_online_features("5")
