"""Snapshots and point-in-time joins where the store is a bucket."""

import pandas as pd
import pytest

from mlinfra.features import CorruptFeatures, FeatureStore


def test_rows_are_kept_joined_and_missed_on_s3(s3_uri: str) -> None:
    s3_store = FeatureStore(s3_uri)
    days = pd.date_range("2024-01-30", periods=4, unit="us")
    frame = pd.DataFrame({"event_timestamp": days, "symbol": "A", "rsi": [1.0, 2.0, 3.0, 4.0]})
    s3_store.write_offline_features("g", frame, partition_by="month")
    snapshot = s3_store.create_snapshot("g", "first")
    assert s3_store.create_snapshot("g", "first") == snapshot
    s3_store.write_offline_features("g", frame.assign(rsi=0.0))

    pd.testing.assert_frame_equal(s3_store.read_snapshot("first"), frame)
    asked = pd.DataFrame({"symbol": ["A", "A"], "event_timestamp": [days[1], days[3]]})
    assert s3_store.get_training_features(asked, ["g"])["rsi"].tolist() == [0.0, 0.0]
    joined = s3_store.get_training_features(asked, ["g"], snapshot="first")
    assert joined["rsi"].tolist() == [2.0, 4.0]

    name = snapshot.groups[0].files[0].path
    assert name in s3_store.protected_files("g")
    s3_store.storage.at("offline/g").delete(name)
    with pytest.raises(CorruptFeatures, match=rf"s3://.*{name} is gone"):
        s3_store.read_snapshot(snapshot.id)
    s3_store.delete_snapshot("first")
    assert s3_store.list_snapshots() == []
