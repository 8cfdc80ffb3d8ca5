"""Predictions by entity: features from the store, and what is done where they are missing."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from integration.serving.conftest import Start
from servers.model_server import ModelServer, learnt_metadata, linear_model

from mlinfra.features import FeatureStore

FEATURES = ["open", "close"]
PREDICT = "/v2/models/adder/predict"
START = datetime(2026, 1, 5, tzinfo=UTC)


def rows(entity: str, count: int, *, first: int = 1) -> pd.DataFrame:
    """Rows of consecutive days: open 1, 2, 3, ..., close a tenth of it."""
    opened = [float(first + day) for day in range(count)]
    return pd.DataFrame(
        {
            "symbol": entity,
            "event_timestamp": [START + timedelta(days=first - 1 + day) for day in range(count)],
            "open": opened,
            "close": [each / 10 for each in opened],
        }
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    both = pd.concat([rows("AAPL", 6), rows("NEW", 2)])
    both.loc[(both["symbol"] == "AAPL") & (both["open"] == 6), "close"] = None
    store.write_offline_features("prices", both, entity_column="symbol")
    store.materialize("prices")
    return store


def model(folder: Path, window: int) -> Path:
    return linear_model(
        folder / "adder.onnx", features=2, window=window, metadata=learnt_metadata(FEATURES, window=window)
    )


@pytest.fixture(scope="module", params=[1, 3])
def served(
    request: pytest.FixtureRequest, store: FeatureStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelServer]:
    folder = tmp_path_factory.mktemp("served")
    server = ModelServer(
        {
            "MLINFRA_SERVED_MODEL": str(model(folder, request.param)),
            "MLINFRA_FEATURE_STORE_URI": str(store.root),
            "MLINFRA_SERVING_DEFAULTS": '{"open": 100, "close": 10}',
        },
        folder / "server.log",
    )
    yield server.start()
    server.stop()


def window_of(server: ModelServer) -> int:
    return int(httpx.get(f"{server.url}/v2/models/adder").json()["properties"]["window_length"])


def predict(server: ModelServer, **body: Any) -> httpx.Response:
    return httpx.post(server.url + PREDICT, json=body, timeout=30)


def test_features_come_from_the_store(served: ModelServer) -> None:
    window = window_of(served)
    as_of = (START + timedelta(days=4)).isoformat()
    answer = predict(served, entities=["AAPL"], event_timestamp=as_of, id="mine", missing="reject")
    if window == 1:
        # The online store has the newest row alone, which was not known then.
        assert (answer.status_code, answer.json()["reason"]) == (422, "UnknownEntity")
        return
    (prediction,) = answer.json()["predictions"]
    assert prediction["prediction"] == pytest.approx((3 + 4 + 5) * 1.1)
    assert prediction["id"] == "mine"
    assert prediction["features_timestamp"].startswith("2026-01-09T00:00:00")
    assert "replaced" not in prediction


def test_missing_values_are_rejected_by_default(served: ModelServer) -> None:
    answer = predict(served, entities=["AAPL"])
    assert (answer.status_code, answer.json()["reason"]) == (422, "MissingFeatures")
    assert "close is null" in answer.json()["error"]


def test_missing_values_become_defaults_where_that_is_asked_for(served: ModelServer) -> None:
    (prediction,) = predict(served, entities=["AAPL"], missing="default").json()["predictions"]
    older = 0 if window_of(served) == 1 else (4 + 5) * 1.1
    assert prediction["prediction"] == pytest.approx(older + 6 + 10)
    assert prediction["replaced"] == [
        {"feature": "close", "age": 0, "status": "null", "replaced_by": "default", "value": 10.0}
    ]


def test_missing_values_become_the_last_ones_where_that_is_asked_for(served: ModelServer) -> None:
    answer = predict(served, entities=["AAPL"], missing="last")
    if window_of(served) == 1:
        # The server was not started with this policy, so it keeps no history.
        assert 'the policy "last" has no value' in answer.json()["error"]
        return
    (prediction,) = answer.json()["predictions"]
    assert prediction["prediction"] == pytest.approx((4 + 5) * 1.1 + 6 + 0.5)
    assert prediction["replaced"][0]["replaced_by"] == "last"


def test_what_the_client_knows_counts(served: ModelServer) -> None:
    answer = predict(served, entities=["AAPL"], features={"AAPL": {"close": 0.6}})
    older = 0 if window_of(served) == 1 else (4 + 5) * 1.1
    assert answer.json()["predictions"][0]["prediction"] == pytest.approx(older + 6.6)


def test_an_entity_with_too_few_rows_is_told(served: ModelServer) -> None:
    answer = predict(served, entities=["NEW"])
    if window_of(served) == 1:
        assert answer.json()["predictions"][0]["prediction"] == pytest.approx(2.2)
    else:
        assert "with 2 of 3 rows" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        ({"entities": ["NOBODY"]}, 422, "nothing is known of the entity 'NOBODY'"),
        ({"entities": []}, 400, "entities is a list of keys"),
        ({"entities": "AAPL"}, 400, "entities is a list of keys"),
        ({"entities": [1.5]}, 400, "a text or a whole number"),
        ({"entities": ["AAPL"], "feature": {}}, 400, "did you mean features"),
        ({"entities": ["AAPL"], "features": {"AAPL": {"opn": 1}}}, 400, "did you mean open"),
        ({"entities": ["AAPL"], "features": {"MSFT": {"open": 1}}}, 400, "not among the entities"),
        ({"entities": ["AAPL"], "features": {"AAPL": {"open": "1"}}}, 400, "is a number, not '1'"),
        ({"entities": ["AAPL"], "features": {"AAPL": {"open": 1e39}}}, 422, "beyond 32-bit numbers"),
        ({"entities": ["AAPL"], "missing": "guess"}, 400, "missing is one of reject, default, last"),
    ],
)
def test_a_bad_request_is_told(served: ModelServer, body: dict[str, Any], status: int, problem: str) -> None:
    answer = predict(served, **body)
    assert answer.status_code == status, answer.text
    assert problem in answer.json()["error"]


def test_newer_rows_are_seen_without_a_restart(start_server: Start, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    store.write_offline_features("prices", rows("AAPL", 3), entity_column="symbol")
    server = start_server(
        MLINFRA_SERVED_MODEL=str(model(tmp_path, 3)), MLINFRA_FEATURE_STORE_URI=str(store.root)
    )
    assert predict(server, entities=["AAPL"]).json()["predictions"][0]["prediction"] == pytest.approx(6.6)
    store.write_online_features(
        "AAPL",
        {"open": 4.0, "close": 0.4},
        feature_group="prices",
        event_timestamp=START + timedelta(days=3),
    )
    store.write_offline_features("prices", rows("AAPL", 1, first=4), entity_column="symbol")
    wait_for(server, 9.9)
    store.write_offline_features("prices", rows("AAPL", 1, first=5), entity_column="symbol")
    wait_for(server, 13.2)


def wait_for(server: ModelServer, prediction: float) -> None:
    deadline = time.monotonic() + 30
    while predict(server, entities=["AAPL"]).json()["predictions"][0]["prediction"] != pytest.approx(
        prediction
    ):
        assert time.monotonic() < deadline, "the new row was never seen"


def test_old_features_are_told(start_server: Start, store: FeatureStore, tmp_path: Path) -> None:
    server = start_server(
        MLINFRA_SERVED_MODEL=str(model(tmp_path, 1)),
        MLINFRA_FEATURE_STORE_URI=str(store.root),
        MLINFRA_SERVING_TTL_SECONDS="60",
        MLINFRA_SERVING_MISSING="last",
    )
    answer = predict(server, entities=["NEW"], missing="reject")
    assert "open is expired, close is expired" in answer.json()["error"]
    (prediction,) = predict(server, entities=["NEW"]).json()["predictions"]
    assert prediction["prediction"] == pytest.approx(2.2)
    assert [each["status"] for each in prediction["replaced"]] == ["expired", "expired"]
    (prediction,) = predict(server, entities=["AAPL"]).json()["predictions"]
    assert prediction["prediction"] == pytest.approx(6 + 0.5)


def test_a_store_without_the_group_is_told(start_server: Start, tmp_path: Path) -> None:
    server = start_server(
        MLINFRA_SERVED_MODEL=str(model(tmp_path, 1)), MLINFRA_FEATURE_STORE_URI=str(tmp_path / "empty")
    )
    answer = predict(server, entities=["AAPL"])
    assert (answer.status_code, answer.json()["reason"]) == (503, "FeatureStoreUnavailable")
    assert "no feature group 'prices'" in answer.json()["error"]
