"""Labels that others write to a feature group reach the monitors of real servers, once."""

import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from integration.serving.adder_traffic import MODEL, ROWS, infer, label_at, normal
from integration.serving.conftest import Start, Started
from servers.model_server import ModelServer, linear_model

from mlinfra.features import FeatureStore


def report(server: ModelServer) -> dict[str, Any]:
    found: dict[str, Any] = httpx.post(f"{server.url}{MODEL}/monitoring", json={}, timeout=30).json()
    return found


def labelled(server: ModelServer, rows: int) -> None:
    """Until so many labels are counted."""
    deadline = time.monotonic() + 30
    while report(server)["labelled"] < rows:
        assert time.monotonic() < deadline, report(server)
        time.sleep(0.05)


def write(store: FeatureStore, group: str, id: str, labels: list[float]) -> None:
    rows = pd.DataFrame(
        {
            "prediction_id": [f"{id}:{row}" for row in range(len(labels))],
            "event_timestamp": pd.Timestamp("2026-02-05T00:00:00Z"),
            "label": labels,
        }
    )
    known = store.get_feature_group(group).columns if group in store.list_feature_groups() else []
    for column in known:
        if column not in (*rows, "created_timestamp"):
            rows[column] = None
    store.write_offline_features(group, rows, entity_column="prediction_id")


@pytest.mark.parametrize("group", ["labels_adder", "truth"])
def test_a_server_counts_labels_of_a_group_once(start: Started, tmp_path: Path, group: str) -> None:
    store = FeatureStore(tmp_path / "log")
    environment = {"MLINFRA_SERVING_LABEL_GROUP": "truth"}
    server = start(**environment)
    values = infer(server, normal(ROWS, 3), id="b")
    write(store, group, "b", [value + 0.1 for value in values])
    labelled(server, ROWS)
    assert len(label_at(f"{server.url}{MODEL}", "b", values, off=0.1)["repeated"]) == ROWS
    server.stop(signal.SIGKILL)
    server = start(**environment)
    more = infer(server, normal(ROWS, 4), id="c")
    write(store, group, "c", [value + 0.1 for value in more])
    labelled(server, 2 * ROWS)
    assert (report(server)["rows"], report(server)["labelled"]) == (2 * ROWS, 2 * ROWS)
    text = httpx.get(f"{server.url}/metrics").text
    assert 'mlinfra_serving_feedback_labels_total{outcome="accepted"} 400.0' in text


def test_labels_of_a_group_need_a_log(start_server: Start, tmp_path: Path) -> None:
    model = linear_model(tmp_path / "adder.onnx")
    environment = {"MLINFRA_SERVED_MODEL": str(model), "MLINFRA_SERVING_LABEL_GROUP": "truth"}
    server = start_server(wait_until_ready=False, **environment)
    server.said("set MLINFRA_PREDICTION_LOG_URI as well as MLINFRA_SERVING_LABEL_GROUP")
    assert server.ended() != 0
