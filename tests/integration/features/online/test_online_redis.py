"""The online store in a real Redis server: the same calls, the same answers."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import redis
from hypothesis import settings
from oracles.online_model import OnlineMachine
from servers.mlflow_server import free_port
from servers.redis_server import redis_server

from mlinfra.features import CorruptFeatures, FeatureStore, FeatureStoreUnavailable


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as uri:
        yield uri


@pytest.fixture
def store(server: str, tmp_path: Path) -> FeatureStore:
    redis.Redis.from_url(server).flushdb()
    return FeatureStore(tmp_path, online=server)


def test_whatever_is_written_and_read_equals_a_plain_dictionary(server: str, tmp_path: Path) -> None:
    class RedisMachine(OnlineMachine):
        def __init__(self) -> None:
            super().__init__()
            redis.Redis.from_url(server).flushdb()

        def open_store(self) -> FeatureStore:
            return FeatureStore(tmp_path, online=server, clock=self.clock)

    case = RedisMachine.TestCase()
    case.settings = settings(max_examples=30, stateful_step_count=25)
    case.runTest()


def test_vectors_groups_versions_and_types(store: FeatureStore) -> None:
    store.write_online_features("BTCUSDT", np.array([0.5, np.nan]))
    np.testing.assert_array_equal(store.read_online_features("BTCUSDT"), [0.5, np.nan])
    assert store.read_online_features("ETHUSDT") is None
    frame = pd.DataFrame({"n": [2**60 + 1, 2], "name": ["é", None]})
    store.write_online_features([1, 2], frame, feature_group="g", version="2.0")
    read = store.read_online_features([2, 1, 3], feature_group="g", version="2.0").to_pandas()
    assert read["n"].tolist()[:2] == [2, 2**60 + 1]
    assert read["name"].tolist()[1] == "é"
    assert store.prepare_online(feature_group="g", version="2.0").read([]).values.shape == (0, 2)
    assert [group.version for group in store.list_online_groups() if group.name == "g"] == ["2.0"]


def test_times_that_differ_in_any_bit_are_ordered(store: FeatureStore) -> None:
    moments = [-(2**62), -(2**32) - 1, -(2**32), -1, 0, 1, 2**31, 2**32 - 1, 2**32, 2**61]
    pairs = [(stored, given) for stored in moments for given in moments]
    keys = [f"{stored} {given}" for stored, given in pairs]
    for side in (0, 1):
        stamps = pd.to_datetime([pair[side] for pair in pairs], utc=True)
        numbers = np.full((len(keys), 1), float(side))
        store.write_online_features(keys, numbers, feature_group="g", features=["x"], event_timestamp=stamps)
    read = store.read_online_features(keys, feature_group="g").values[:, 0].tolist()
    assert read == [float(given >= stored) for stored, given in pairs]


def test_materialized_rows_come_online_once(store: FeatureStore) -> None:
    count = 1234
    rows = pd.DataFrame(
        {
            "symbol": [f"s{number}" for number in range(count)],
            "event_timestamp": pd.Timestamp("2024-03-01", tz="UTC"),
            "x": np.arange(count, dtype=np.float64),
        }
    )
    store.write_offline_features("g", rows)
    assert store.materialize_incremental("g") == count
    assert store.materialize_incremental("g") == 0
    read = store.read_online_features(rows["symbol"].tolist(), feature_group="g", ttl=timedelta(days=1))
    assert np.isnan(read.values).all()
    assert (read.event_timestamps == np.datetime64(datetime(2024, 3, 1))).all()


def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    port = free_port()
    store = FeatureStore(tmp_path, online=f"redis://user:secret@127.0.0.1:{port}/0")
    with pytest.raises(FeatureStoreUnavailable, match=f"redis://127.0.0.1:{port}/0") as caught:
        store.write_online_features("a", [1.0])
    assert "secret" not in str(caught.value)


def test_a_damaged_row_is_named(store: FeatureStore, server: str) -> None:
    store.write_online_features("a", [1.0], feature_group="g", features=["x"])
    redis.Redis.from_url(server).hset("mlinfra:online:rows:g:1.0", "a", b"not a row of the store")
    with pytest.raises(CorruptFeatures, match="a row of feature group 'g'"):
        store.read_online_features("a", feature_group="g")
