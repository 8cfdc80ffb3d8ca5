"""Commits commute: whoever reads them in whatever order sees the same group."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.features import CorruptFeatures, FeatureStore
from mlinfra.features.commits import Change, Commit, DataFile, commit_of, folded
from mlinfra.features.group import CREATED_COLUMN, FeatureGroup

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
KEYS = [("symbol", pa.string()), ("event_timestamp", pa.timestamp("us"))]
CREATED = (CREATED_COLUMN, pa.timestamp("us", "UTC"))


def group(**columns: pa.DataType) -> FeatureGroup:
    schema = pa.schema([*KEYS, *columns.items(), CREATED])
    return FeatureGroup("g", "symbol", "event_timestamp", "day", schema)


def data_file(name: str) -> DataFile:
    return DataFile(
        path=f"date=2024-01-01/{name}.parquet",
        rows=1,
        bytes=1,
        sha256="",
        first_event="2024-01-01",
        last_event="2024-01-01",
        distinct_keys=True,
    )


@given(data=st.data(), writes=st.integers(1, 6), checkpoint_after=st.integers(0, 6))
def test_the_order_in_which_commits_are_read_makes_no_difference(
    data: st.DataObject, writes: int, checkpoint_after: int
) -> None:
    commits: list[Commit] = []
    checkpoint = None
    for number in range(1, writes + 1):
        live = sorted(folded("g", commits).files, key=lambda file: file.path) if commits else []
        removed = data.draw(st.lists(st.sampled_from(live), unique=True)) if live else []
        columns = {f"f{at}": pa.float64() for at in data.draw(st.sets(st.integers(0, 3)))}
        seen = data.draw(st.integers(1, number))
        change = Change("test", group(**columns), (data_file(f"{number}"),), tuple(f.path for f in removed))
        commits.append(commit_of(change, number=seen, committed_at=BEGIN + timedelta(minutes=seen)))
        if number == checkpoint_after:
            covers = [str(at) for at in range(number)]
            change = Change("test", folded("g", commits).group)
            checkpoint = commit_of(
                change,
                number=number + 1,
                committed_at=BEGIN,
                before=folded("g", commits),
                covers=covers,
            )
    whole = folded("g", commits)
    shuffled = folded("g", data.draw(st.permutations(commits)))
    assert shuffled.files == whole.files
    assert (shuffled.newest, shuffled.clock) == (whole.newest, whole.clock)
    assert set(shuffled.group.schema) == set(whole.group.schema)
    if checkpoint is not None:
        later = folded("g", [checkpoint, *commits[checkpoint_after:]])
        assert later.files == whole.files
        assert set(later.group.schema) == set(whole.group.schema)


def test_commits_that_contradict_each_other_are_told() -> None:
    one = commit_of(Change("test", group(x=pa.float64())), number=1, committed_at=BEGIN)
    two = commit_of(Change("test", group(x=pa.string())), number=1, committed_at=BEGIN)
    with pytest.raises(CorruptFeatures, match=r"type of column 'x': double and, in commit 1 of 2024.*string"):
        folded("g", [one, two])
    other = FeatureGroup("g", "venue", "event_timestamp", "day", group(venue=pa.string()).schema)
    three = commit_of(Change("test", other), number=1, committed_at=BEGIN)
    with pytest.raises(CorruptFeatures, match=r"disagree on entity column: 'symbol' and, .*'venue'"):
        folded("g", [one, three])


def test_commits_of_the_first_release_are_read(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    times = pd.to_datetime(["2024-01-01"])
    created = pd.Timestamp("2024-02-01", tz="UTC")
    for value in range(70):
        frame = pd.DataFrame({"event_timestamp": times, "symbol": "A", "x": value, CREATED_COLUMN: created})
        store.write_offline_features("g", frame)
    for path in (tmp_path / "offline" / "g" / "_commits").iterdir():
        commit = json.loads(path.read_text())
        for file in (*commit["add"], *commit.get("files", ())):
            del file["order"]
        path.write_text(json.dumps(commit))
    assert store.read_offline_features("g")["x"].tolist() == [69]
    store.compact_offline_features("g")
    assert store.read_offline_features("g")["x"].tolist() == [69]
