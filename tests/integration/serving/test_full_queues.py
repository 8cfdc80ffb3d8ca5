"""A server that has too much to do says so, and one that is asked to end answers what it took."""

import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path

import httpx
from integration.serving.conftest import Start
from servers.model_server import ModelServer, slow_model

BODY = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}


def ask(server: ModelServer) -> httpx.Response:
    return httpx.post(f"{server.url}/v2/models/slow/infer", json=BODY, timeout=60)


def test_beyond_what_may_wait_callers_are_told_to_come_again(start_server: Start, tmp_path: Path) -> None:
    model = slow_model(tmp_path / "slow.onnx", steps=30)
    server = start_server(MLINFRA_SERVED_MODEL=str(model), MLINFRA_SERVING_MAX_PENDING="2")
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda _: ask(server), range(64)))
    refused = [each for each in answers if each.status_code == 429]
    assert {each.status_code for each in answers} == {200, 429}
    for each in refused:
        assert each.headers["retry-after"] == "1"
        assert each.json()["reason"] == "QueueFull"
    for each in answers:
        if each.status_code == 200:
            assert each.json()["outputs"][0]["data"] == [6.0]
    assert ask(server).status_code == 200


def test_what_is_in_the_model_when_the_server_is_asked_to_end_is_answered(
    start_server: Start, tmp_path: Path
) -> None:
    model = slow_model(tmp_path / "slow.onnx", steps=800)
    server = start_server(MLINFRA_SERVED_MODEL=str(model))
    with ExitStack() as connections:
        asked = [connections.enter_context(asking(server)) for _ in range(6)]
        # Connections are accepted in order, and those that were are read before these are answered.
        for _ in range(2):
            assert httpx.get(f"{server.url}/v2/health/live").status_code == 200
        assert server.stop(signal.SIGTERM) == 0
        answers = [HTTPResponse(each) for each in asked]
        for each in answers:
            each.begin()
        assert [each.status for each in answers] == [200] * 6


def asking(server: ModelServer) -> socket.socket:
    """A connection on which the model was asked."""
    url, body = httpx.URL(server.url), json.dumps(BODY).encode()
    assert url.port is not None
    connection = socket.create_connection((url.host, url.port), timeout=60)
    head = f"POST /v2/models/slow/infer HTTP/1.1\r\nHost: server\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection
