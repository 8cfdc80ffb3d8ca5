"""Traffic of a monitored server, whose model adds two features."""

from typing import Any

import httpx
import numpy as np
from servers.model_server import ModelServer

from mlinfra.monitoring.profile import HeldOut, ReferenceProfile, build_profile
from mlinfra.monitoring.references import columns_of

MODEL = "/v2/models/adder"
FEATURES = ["open", "close"]
ROWS = 400


def normal(rows: int, seed: int, mean: float = 0.0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(mean, size=(rows, 2)).astype(np.float32)


def adder_profile(mean: float = 0.0) -> ReferenceProfile:
    """Of the model, learnt from `normal` rows; its answers were 0.1 less than the labels."""
    learnt, held_out = normal(2000, 1, mean), normal(500, 2, mean)
    outputs = held_out.sum(axis=1, keepdims=True)
    columns = [columns_of(FEATURES, rows) for rows in (learnt, held_out)]
    right = HeldOut(columns[1], outputs, outputs[:, 0] + 0.1)
    return build_profile(columns[0], right, performance={"mae": 0.1})


def infer(server: ModelServer, rows: np.ndarray[Any, Any], *, id: str, hour: int = 0) -> list[float]:
    """Predict, and give the answers; IDs are ``id:0``, ``id:1``, ..."""
    return infer_at(f"{server.url}{MODEL}", rows, id=id, hour=hour)


def infer_at(url: str, rows: np.ndarray[Any, Any], *, id: str, hour: int = 0) -> list[float]:
    """As `infer`, of a model's address."""
    tensor = {
        "name": "features",
        "datatype": "FP32",
        "shape": [len(rows), 1, 2],
        "data": rows.ravel().tolist(),
    }
    moment = {"event_timestamp": f"2026-01-05T{hour:02}:00:00Z"}
    answer = httpx.post(f"{url}/infer", json={"inputs": [tensor], "id": id, "parameters": moment})
    assert answer.status_code == 200, answer.text
    values: list[float] = answer.json()["outputs"][0]["data"]
    return values


def label_at(url: str, id: str, values: list[float], *, off: float) -> dict[str, Any]:
    """Tell the labels of `infer_at`: the answers, and ``off`` more."""
    body = [{"id": f"{id}:{row}", "label": value + off} for row, value in enumerate(values)]
    found: dict[str, Any] = httpx.post(f"{url}/feedback", json=body, timeout=30).json()
    return found
