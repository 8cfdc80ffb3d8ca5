"""Snapshots: the very same rows whatever is written later, or which file is gone; nothing overwritten."""

import json
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.features import (
    CorruptFeatures,
    FeatureConflict,
    FeatureStore,
    FeatureStoreUnavailable,
    InvalidDateRange,
    InvalidFeatures,
    Snapshot,
    UnknownFeature,
    UnknownFeatureGroup,
    UnknownSnapshot,
)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path / "feature_store")
    store.write_offline_features("g", rows("2024-01-01", 40), partition_by="month")
    return store


def rows(start: str, days: int, *, symbol: str = "A", shift: float = 0.0, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "event_timestamp": pd.date_range(start, periods=days, unit="us"),
            "symbol": symbol,
            "rsi": np.arange(days) + shift,
            "trades": np.arange(days),
        }
        | columns
    )


def manifest_path(store: FeatureStore, snapshot: Snapshot) -> Path:
    return store.root / "metadata" / "snapshots" / f"{snapshot.id}.json"


def data_files(store: FeatureStore) -> list[Path]:
    return sorted((store.root / "offline" / "g").rglob("*.parquet"))


def test_a_snapshot_stays_as_it_was_whatever_is_written(store: FeatureStore) -> None:
    before = store.read_offline_features("g")
    snapshot = store.create_snapshot("g", "first")
    store.write_offline_features("g", rows("2024-01-20", 60, shift=100.0, spread=0.5))
    assert len(store.read_offline_features("g")) == 79
    for again in (snapshot, snapshot.id, "first"):
        pd.testing.assert_frame_equal(store.read_snapshot(again), before)
    other = FeatureStore(store.root)
    assert other.list_snapshots() == [snapshot]
    pd.testing.assert_frame_equal(other.read_snapshot("first"), before)


def test_a_manifest_reads_well_and_says_all(store: FeatureStore) -> None:
    snapshot = store.create_snapshot(
        "g", start_date="2024-01-10", end_date="2024-01-19", columns=["rsi"], known_at=date(2099, 1, 1)
    )
    manifest = json.loads(manifest_path(store, snapshot).read_text())
    assert manifest["format"] == 1
    assert manifest["id"] == snapshot.id
    (group,) = manifest["groups"]
    assert group["group"] == "g"
    assert group["commit"] == 1
    assert group["rows"] == 10 == snapshot.rows
    assert group["columns"] == {"event_timestamp": "timestamp[us]", "symbol": "string", "rsi": "double"}
    assert (group["start"], group["stop"]) == ("2024-01-10T00:00:00.000000", "2024-01-20T00:00:00.000000")
    assert group["created_before"] == "2099-01-02T00:00:00.000000"
    assert [file["path"] for file in group["files"]] == [
        data_files(store)[0].relative_to(store.root / "offline" / "g").as_posix()
    ]
    read = store.read_snapshot(snapshot.id)
    assert list(read) == ["event_timestamp", "symbol", "rsi"]
    assert read["rsi"].tolist() == list(np.arange(9.0, 19.0))


def test_the_same_rows_are_the_same_snapshot(store: FeatureStore) -> None:
    first = store.create_snapshot("g", end_date="2024-01-31")
    content = manifest_path(store, first).read_bytes()
    store.write_offline_features("g", rows("2024-05-01", 3))
    assert store.create_snapshot("g", end_date="2024-01-31") == first
    assert manifest_path(store, first).read_bytes() == content
    assert store.create_snapshot("g").id != first.id
    assert store.create_snapshot("g", "named", end_date="2024-01-31").id != first.id


def test_known_at_is_kept(store: FeatureStore) -> None:
    store.write_offline_features(
        "g",
        rows("2024-01-05", 1, shift=50.0, created_timestamp=pd.Timestamp("2098-01-01", tz="UTC")),
    )
    snapshot = store.create_snapshot("g", known_at="2097-12-31")
    assert store.read_snapshot(snapshot.id).set_index("event_timestamp").loc["2024-01-05", "rsi"] == 4.0
    assert snapshot.rows == 40


def test_several_groups(store: FeatureStore) -> None:
    store.write_offline_features("h", rows("2024-02-01", 5, symbol="B"))
    snapshot = store.create_snapshot(["h", "g"], columns={"g": ["trades"]})
    assert [(each.group, each.rows) for each in snapshot.groups] == [("h", 5), ("g", 40)]
    assert list(store.read_snapshot(snapshot.id, "g")) == ["event_timestamp", "symbol", "trades"]
    assert len(store.read_snapshot(snapshot.id, "h", columns=["rsi"])) == 5
    with pytest.raises(UnknownFeatureGroup, match="several feature groups; name one of h, g"):
        store.read_snapshot(snapshot.id)
    with pytest.raises(UnknownFeature, match="'rsi'"):
        store.read_snapshot(snapshot.id, "g", columns=["rsi"])


def test_features_are_joined_from_a_snapshot(store: FeatureStore) -> None:
    snapshot = store.create_snapshot("g", "first", start_date="2024-01-05", columns=["rsi"])
    store.write_offline_features("g", rows("2024-01-10", 1, shift=77.0))
    asked = pd.DataFrame(
        {
            "symbol": "A",
            "event_timestamp": pd.DatetimeIndex(["2024-01-04", "2024-01-10", "2024-03-01"]).as_unit("us"),
        }
    )
    joined = store.get_training_features(asked, ["g"], snapshot="first")
    assert joined["rsi"].fillna(-1).tolist() == [-1.0, 9.0, 39.0]
    assert "trades" not in joined
    assert store.get_training_features(asked, ["g:rsi"])["rsi"].tolist() == [3.0, 77.0, 39.0]
    with pytest.raises(UnknownFeatureGroup, match="holds no feature group 'h'"):
        store.get_training_features(asked, ["h"], snapshot=snapshot)


def test_a_file_that_is_gone_cut_or_changed_is_named(store: FeatureStore) -> None:
    snapshot = store.create_snapshot("g")
    gone, changed = data_files(store)
    content = changed.read_bytes()
    gone.unlink()
    changed.write_bytes(content[:-1])
    with pytest.raises(CorruptFeatures, match=rf"{gone.name} is gone; .*{changed.name} has .* instead of"):
        store.read_snapshot(snapshot.id)
    changed.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with pytest.raises(CorruptFeatures, match=rf"{changed.name} has another content"):
        store.read_snapshot(snapshot.id)


def test_a_manifest_that_was_changed_is_refused(store: FeatureStore) -> None:
    snapshot = store.create_snapshot("g")
    path = manifest_path(store, snapshot)
    content = path.read_text()
    for wrong, told in [
        (content.replace('"rows": 40', '"rows": 41'), "was changed"),
        (content.replace('"format": 1', '"format": 2'), "format 2, and this release reads format 1; upgrade"),
        (content[: len(content) // 2], "not the manifest"),
        ("[]", "not the manifest"),
        ("", "not the manifest"),
    ]:
        path.write_text(wrong)
        with pytest.raises(CorruptFeatures, match=told):
            store.read_snapshot(snapshot.id)
        with pytest.raises(CorruptFeatures, match=path.name):
            store.protected_files("g")


def test_a_snapshot_of_nothing_is_refused(store: FeatureStore) -> None:
    with pytest.raises(InvalidDateRange, match=r"no rows from 2030-01-01.* it has 2024-01-01"):
        store.create_snapshot("g", start_date="2030-01-01")
    with pytest.raises(InvalidDateRange, match="created before 2001"):
        store.create_snapshot("g", known_at="2000-12-31")
    assert store.describe_snapshot("g", start_date="2030-01-01").rows == 0
    assert store.list_snapshots() == []


def test_a_name_is_given_once(store: FeatureStore) -> None:
    first = store.create_snapshot("g", "daily")
    assert store.create_snapshot("g", "daily") == first
    with pytest.raises(FeatureConflict, match="'daily' is that of snapshot"):
        store.create_snapshot("g", "daily", end_date="2024-01-05")
    store.delete_snapshot("daily")
    assert store.create_snapshot("g", "daily", end_date="2024-01-05").rows == 5


def test_files_are_protected_until_the_snapshot_is_deleted(store: FeatureStore) -> None:
    january = store.create_snapshot("g", end_date="2024-01-31")
    assert store.protected_files("g") == {january.groups[0].files[0].path}
    every = store.create_snapshot("g")
    assert len(store.protected_files("g")) == 2
    assert store.protected_files("h") == set()
    store.delete_snapshot(every.id)
    assert len(store.protected_files("g")) == 1


def test_a_described_snapshot_is_published_later_or_its_files_are_missed(store: FeatureStore) -> None:
    described = store.describe_snapshot("g")
    assert store.list_snapshots() == []
    pd.testing.assert_frame_equal(store.read_snapshot(described), store.read_offline_features("g"))
    copy = Snapshot.from_json(described.to_json(), where="the run's manifest")
    assert store.publish_snapshot(copy) == described
    store.delete_snapshot(described.id)
    data_files(store)[0].unlink()
    with pytest.raises(CorruptFeatures, match="is missing"):
        store.publish_snapshot(described)


def test_a_store_that_cannot_be_written_says_so(store: FeatureStore) -> None:
    (store.root / "metadata").mkdir()
    (store.root / "metadata" / "snapshots").touch()
    with pytest.raises(FeatureStoreUnavailable, match="snapshots"):
        store.create_snapshot("g")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "told"),
    [
        (["x"], {}, UnknownFeatureGroup, "'x'"),
        ([[]], {}, InvalidFeatures, "one feature group at least"),
        (["g", "a/b"], {}, InvalidFeatures, "cannot name a snapshot"),
        (["g", "snapshot-1"], {}, InvalidFeatures, "'snapshot-'"),
        (["g"], {"columns": ["rsy"]}, UnknownFeature, "did you mean rsi"),
        (["g"], {"columns": {"h": ["rsi"]}}, UnknownFeatureGroup, "'h', which is not in the snapshot"),
        ([["g", "g2"]], {"columns": ["rsi"]}, InvalidFeatures, "Give a dictionary"),
        (["g"], {"known_at": "never"}, InvalidDateRange, "known_at"),
        (["g"], {"start_date": "2024-02-01", "end_date": "2024-01-01"}, InvalidDateRange, "is after"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    store: FeatureStore, arguments: list[Any], options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        store.create_snapshot(*arguments, **options)


def test_an_unknown_snapshot_is_told_with_those_there_are(store: FeatureStore) -> None:
    with pytest.raises(UnknownSnapshot, match="there are none yet"):
        store.read_snapshot("first")
    store.create_snapshot("g", "first")
    with pytest.raises(UnknownSnapshot, match="did you mean first"):
        store.get_snapshot("frist")


FIRST = pd.Timestamp("2024-01-25")
LAST_DAY = 20
BATCHES = st.lists(
    st.lists(
        st.tuples(st.integers(0, LAST_DAY), st.integers(-5, 5), st.integers(0, 3)), min_size=1, max_size=6
    ),
    min_size=1,
    max_size=4,
)


def later(days: int | None) -> date | None:
    return None if days is None else (FIRST + timedelta(days=days)).date()


def write(store: FeatureStore, batches: list[list[tuple[int, int, int]]]) -> None:
    for batch in batches:
        days, values, created = zip(*batch, strict=True)
        frame = pd.DataFrame(
            {
                "event_timestamp": FIRST + pd.to_timedelta(days, unit="D"),
                "created_timestamp": FIRST.tz_localize("UTC") + pd.to_timedelta(created, unit="D"),
                "symbol": "A",
                "value": values,
            }
        )
        new = "g" not in store.list_feature_groups()
        store.write_offline_features("g", frame, partition_by="month" if new else None)


@given(
    before=BATCHES,
    after=BATCHES,
    ends=st.tuples(st.integers(0, LAST_DAY), st.integers(0, LAST_DAY)).map(sorted),
    bounded=st.booleans(),
    known=st.sampled_from([None, 0, 2]),
)
@settings(max_examples=30)
def test_a_snapshot_equals_brute_force_when_it_was_taken(
    before: list[list[tuple[int, int, int]]],
    after: list[list[tuple[int, int, int]]],
    ends: list[int],
    bounded: bool,
    known: int | None,
) -> None:
    start, end = ends if bounded else (None, None)
    newest: dict[int, tuple[int, int, int]] = {}
    for number, batch in enumerate(before):
        for day, value, created in batch:
            in_range = not bounded or ends[0] <= day <= ends[1]
            rank = (created, number)
            newer = rank >= newest.get(day, (-1, -1, 0))[:2]
            if in_range and newer and (known is None or created <= known):
                newest[day] = (*rank, value)
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        write(store, before)
        taken = store.describe_snapshot(
            "g", start_date=later(start), end_date=later(end), known_at=later(known)
        )
        write(store, after)
        read = store.read_snapshot(taken)
    days = (read["event_timestamp"] - FIRST).dt.days
    assert list(zip(days, read["value"], strict=True)) == [
        (day, best[2]) for day, best in sorted(newest.items())
    ]
    assert taken.rows == len(newest)
