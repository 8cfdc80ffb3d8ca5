"""What a server reads back of its log: its rows after a place, from the files that can have them."""

import os
import time
from pathlib import Path

import pandas as pd
import pytest

from mlinfra.features import CorruptFeatures, FeatureStore
from mlinfra.serving import kept_rows
from mlinfra.serving.kept_rows import KeptRows

HOUR = 3600 * 10**9


def write(store: FeatureStore, sequence: int, *, replica: str = "one") -> None:
    row = {
        "prediction_id": f"p{sequence}",
        "event_timestamp": pd.Timestamp("2020-01-05T00:00:00Z"),
        "model_version": "1",
        "replica": replica,
        "sequence": sequence,
        "open": 1.0,
        "prediction": 2.0,
    }
    store.write_offline_features("log", pd.DataFrame([row]), entity_column="prediction_id")


def test_files_from_before_the_place_are_not_read(tmp_path: Path) -> None:
    store, now = FeatureStore(tmp_path), time.time_ns()
    kept = KeptRows(store, predictions="log", labels="labels")
    write(store, now - 5 * HOUR)
    (old,) = tmp_path.rglob("*.parquet")
    old.write_bytes(bytes(old.stat().st_size))
    os.utime(old, ns=(now - 5 * HOUR, now - 5 * HOUR))
    write(store, now - HOUR // 2)
    write(store, now)
    rows = kept.rows("one", "1", ["open"], after=now - 3 * HOUR)
    assert rows is not None
    assert rows.sequence.tolist() == [now - HOUR // 2, now]
    assert rows.known.all()
    # Within an hour of the place clocks may differ.
    with pytest.raises(CorruptFeatures):
        kept.rows("one", "1", ["open"], after=now - 4 * HOUR - HOUR // 2)
    with pytest.raises(CorruptFeatures):
        kept.rows("one", "1", ["open"], after=0)


def test_the_newest_rows_alone_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(tmp_path)
    kept = KeptRows(store, predictions="log", labels="labels")
    write(store, 1)
    (old,) = tmp_path.rglob("*.parquet")
    old.write_bytes(bytes(old.stat().st_size))
    for sequence in (2, 3):
        write(store, sequence)
    with pytest.raises(CorruptFeatures):
        kept.rows("new", "1", ["open"], after=0)
    monkeypatch.setattr(kept_rows, "MAX_ROWS", 2)
    assert kept.rows("new", "1", ["open"], after=0) is None
    rows = kept.rows("one", "1", ["open"], after=0)
    assert rows is not None
    assert rows.sequence.tolist() == [2, 3]


def test_after_a_place_all_rows_are_read_however_many_others_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = FeatureStore(tmp_path), time.time_ns()
    for number in range(1, 6):
        write(store, now + number, replica="one" if number == 1 else "another")
    monkeypatch.setattr(kept_rows, "MAX_ROWS", 2)
    kept = KeptRows(store, predictions="log", labels="labels")
    rows = kept.rows("one", "1", ["open"], after=now)
    assert rows is not None
    assert rows.sequence.tolist() == [now + 1]


def test_a_version_whose_features_nobody_logged_has_no_rows(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    kept = KeptRows(store, predictions="log", labels="labels")
    write(store, 1)
    assert kept.rows("one", "2", ["open", "brought by version 2"], after=0) is None
    assert kept.labels("one", "2", after=0) is None
