"""Predictions and their labels in the feature store: nothing lost that was acknowledged, nothing twice."""

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from integration.serving.conftest import Start
from servers.model_server import ModelServer, learnt_metadata, linear_model, text_classifier

from mlinfra.features import FeatureStore, UnknownFeatureGroup
from mlinfra.serving.log_upkeep import LogUpkeep

INFER = "/v2/models/adder/infer"
FEEDBACK = "/v2/models/adder/feedback"
LOG = "predictions_adder"
LABELS = "labels_adder"


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "log")


@pytest.fixture
def start(start_server: Start, store: FeatureStore, tmp_path: Path) -> Callable[..., ModelServer]:
    model = linear_model(
        tmp_path / "adder.onnx", features=2, window=1, metadata=learnt_metadata(["open", "close"])
    )

    def started(**environment: str) -> ModelServer:
        return start_server(
            MLINFRA_SERVED_MODEL=str(model),
            MLINFRA_PREDICTION_LOG_URI=str(store.root),
            **{"MLINFRA_SERVING_LOG_SECONDS": "0.1"} | environment,
        )

    return started


def infer(server: ModelServer, *rows: list[float], **more: Any) -> str:
    """Predict, and give the request's ID."""
    data = np.array(rows, np.float64).reshape(-1, 1, 2)
    tensor = {
        "name": "features",
        "datatype": "FP32",
        "shape": list(data.shape),
        "data": data.ravel().tolist(),
    }
    answer = httpx.post(server.url + INFER, json={"inputs": [tensor], **more})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def label(server: ModelServer, *labels: tuple[str, Any]) -> httpx.Response:
    body = [{"id": one, "label": value} for one, value in labels]
    return httpx.post(server.url + FEEDBACK, json=body, timeout=30)


def logged(store: FeatureStore, group: str, count: int) -> pd.DataFrame:
    """The rows of a group, once there are so many."""
    deadline = time.monotonic() + 30
    while True:
        try:
            rows = store.read_offline_features(group)
            if len(rows) >= count:
                return rows
        except UnknownFeatureGroup:
            pass
        assert time.monotonic() < deadline, f"{group} never had {count} rows"
        time.sleep(0.05)


def test_predictions_are_logged_with_what_was_read(
    start: Callable[..., ModelServer], store: FeatureStore
) -> None:
    server = start()
    first = infer(server, [1, 2], parameters={"event_timestamp": "2026-01-05T10:00:00Z"})
    infer(server, [3, 4], [5, 6.5], id="mine", parameters={"event_timestamp": "2026-01-05T12:00:00+01:00"})
    rows = logged(store, LOG, 3)
    assert rows["prediction_id"].tolist() == [first, "mine:0", "mine:1"]
    assert rows["open"].tolist() == [1, 3, 5]
    assert rows["prediction"].tolist() == [3, 7, 11.5]
    assert rows["model_version"].tolist() == ["1", "1", "1"]
    assert rows["event_timestamp"].dt.hour.tolist() == [10, 11, 11]
    assert rows["entity"].isna().all()


def test_what_waits_is_logged_at_the_end(start: Callable[..., ModelServer], store: FeatureStore) -> None:
    server = start(MLINFRA_SERVING_LOG_SECONDS="3600")
    for number in range(50):
        infer(server, [number, 0])
    assert LOG not in store.list_feature_groups()
    assert server.stop() == 0
    assert sorted(store.read_offline_features(LOG)["open"]) == list(range(50))


def test_a_share_is_logged_with_its_features_where_that_is_asked_for(
    start: Callable[..., ModelServer], store: FeatureStore
) -> None:
    server = start(MLINFRA_SERVING_LOG_SHARE="0.5")
    for number in range(200):
        infer(server, [number, 0], id=f"request-{number}")
    rows = logged(store, LOG, 200)
    assert sorted(rows["prediction"]) == list(range(200))
    known = int(rows["open"].notna().sum())
    assert 50 < known < 150
    # Answered after what was logged is counted.
    label(server, ("nobody", 1))
    text = httpx.get(f"{server.url}/metrics").text
    assert f'mlinfra_serving_prediction_log_rows_total{{outcome="written"}} {float(known)}' in text
    left_out = f'mlinfra_serving_prediction_log_rows_total{{outcome="without_features"}} {200.0 - known}'
    assert left_out in text
    server.stop(signal.SIGKILL)
    server = start(MLINFRA_SERVING_LOG_SHARE="0.5")
    told = label(server, *((f"request-{number}", number) for number in range(200))).json()
    assert (told["accepted"], told["unknown"]) == (200, [])


def test_old_rows_of_the_log_go_beside_a_server(
    start: Callable[..., ModelServer], store: FeatureStore
) -> None:
    server = start()
    infer(server, [1, 2], id="old", parameters={"event_timestamp": "2020-01-05T10:00:00Z"})
    infer(server, [3, 4], id="new", parameters={"event_timestamp": "2100-01-05T10:00:00Z"})
    assert label(server, ("old", 3), ("new", 7)).json()["accepted"] == 2
    logged(store, LOG, 2)
    in_a_while = datetime.now(UTC) + timedelta(days=2)
    LogUpkeep(store, [LOG, LABELS], days=1, now=lambda: in_a_while).run()
    assert [len(store.read_offline_features(group)) for group in (LOG, LABELS)] == [1, 1]
    for _ in range(2):
        assert label(server, ("new", 7)).json()["repeated"] == ["new"]
        assert infer(server, [5, 6], parameters={"event_timestamp": "2100-01-05T11:00:00Z"})
        assert server.stop() == 0
        server = start()
    assert len(store.read_offline_features(LOG)) == 3


def test_labels_are_told_apart(start: Callable[..., ModelServer], store: FeatureStore) -> None:
    server = start()
    one, two = infer(server, [1, 2]), infer(server, [3, 4])
    assert label(server, (one, 3.5), (two, 7)).json()["accepted"] == 2
    again = label(server, (one, 3.5), (two, 8), ("nobody", 1)).json()
    assert again == {
        "accepted": 0,
        "repeated": [one],
        "conflicting": [two],
        "unknown": ["nobody"],
        "uncounted": [],
    }
    assert label(server, ("nobody", 1)).status_code == 404
    rows = store.read_offline_features(LABELS)
    assert dict(zip(rows["prediction_id"], rows["label"], strict=True)) == {one: 3.5, two: 7.0}


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"{", 400, "no JSON"),
        (b"{}", 400, "the body is a list"),
        (b"[]", 400, "the body is a list"),
        (b'[{"id": 7, "label": 1}]', 400, "a label is"),
        (b'[{"id": "a"}]', 400, "a label is"),
        (b'[{"id": "a", "label": "up"}]', 422, "is no number"),
        (b'[{"id": "a", "label": null}]', 422, "is no number"),
    ],
)
def test_a_bad_label_is_told(adder: ModelServer, start: Any, body: bytes, status: int, problem: str) -> None:
    server = start()
    answer = httpx.post(server.url + FEEDBACK, content=body)
    assert (answer.status_code, problem in answer.json()["error"]) == (status, True), answer.text


def test_without_a_log_no_labels_are_taken(adder: ModelServer) -> None:
    answer = label(adder, ("a", 1))
    assert (answer.status_code, answer.json()["reason"]) == (404, "Unsupported")


def test_kill_loses_no_label_that_was_acknowledged(
    start: Callable[..., ModelServer], store: FeatureStore
) -> None:
    server = start()
    ids = [infer(server, [number, 0]) for number in range(10)]
    logged(store, LOG, 10)
    assert label(server, *((one, number) for number, one in enumerate(ids[:5]))).json()["accepted"] == 5
    server.stop(signal.SIGKILL)
    server = start()
    answer = label(server, *((one, number) for number, one in enumerate(ids))).json()
    assert answer == {"accepted": 5, "repeated": ids[:5], "conflicting": [], "unknown": [], "uncounted": []}
    rows = store.read_offline_features(LABELS).set_index("prediction_id")["label"]
    assert rows.to_dict() == {one: float(number) for number, one in enumerate(ids)}


def test_a_replica_takes_labels_of_anothers_predictions(
    start: Callable[..., ModelServer], store: FeatureStore
) -> None:
    one, other = start(), start()
    made = infer(one, [1, 2])
    logged(store, LOG, 1)
    assert label(other, (made, 3)).json()["accepted"] == 1
    assert label(one, (made, 3)).json()["repeated"] == [made]


def test_answers_that_are_text_are_logged_and_get_labels_also_after_a_restart(
    start_server: Start, store: FeatureStore, tmp_path: Path
) -> None:
    environment = {
        "MLINFRA_SERVED_MODEL": str(text_classifier(tmp_path / "adder.onnx")),
        "MLINFRA_PREDICTION_LOG_URI": str(store.root),
        "MLINFRA_SERVING_LOG_SECONDS": "0.1",
    }
    tensor = {"name": "features", "datatype": "FP32", "shape": [2, 2], "data": [2, 1, 1, 3]}
    server = start_server(**environment)
    answer = httpx.post(server.url + INFER, json={"inputs": [tensor], "id": "mine"}).json()
    assert answer["outputs"][0]["data"] == ["up", "down"]
    rows = logged(store, LOG, 2)
    assert rows["output_0"].tolist() == ["up", "down"]
    np.testing.assert_allclose(rows["output_1"] + rows["output_2"], 1, rtol=1e-6)
    assert label(server, ("mine:0", 1)).json()["accepted"] == 1
    assert server.stop() == 0
    server = start_server(**environment)
    assert label(server, ("mine:0", 1), ("mine:1", 1)).json()["accepted"] == 1
    kept = logged(store, LABELS, 2)
    assert kept["label"].tolist() == [1, 1]
    np.testing.assert_allclose(kept["output_0"], rows["output_1"], rtol=1e-6)
    assert "Traceback" not in server.log.read_text()
