"""Traffic of a monitored server, whose model adds two features."""

from typing import Any

import httpx
import numpy as np
from servers.model_server import ModelServer

MODEL = "/v2/models/adder"
FEATURES = ["open", "close"]
ROWS = 400


def normal(rows: int, seed: int, mean: float = 0.0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(mean, size=(rows, 2)).astype(np.float32)


def infer(server: ModelServer, rows: np.ndarray[Any, Any], *, id: str, hour: int = 0) -> list[float]:
    """Predict, and give the answers; IDs are ``id:0``, ``id:1``, ..."""
    tensor = {
        "name": "features",
        "datatype": "FP32",
        "shape": [len(rows), 1, 2],
        "data": rows.ravel().tolist(),
    }
    moment = {"event_timestamp": f"2026-01-05T{hour:02}:00:00Z"}
    answer = httpx.post(
        f"{server.url}{MODEL}/infer", json={"inputs": [tensor], "id": id, "parameters": moment}
    )
    assert answer.status_code == 200, answer.text
    values: list[float] = answer.json()["outputs"][0]["data"]
    return values
