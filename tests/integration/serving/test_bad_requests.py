"""What no model can read is a clear 4xx, and the server goes on."""

import json
import socket
from typing import Any

import httpx
import pytest
from integration.serving.conftest import Start
from servers.model_server import ModelServer, linear_model

INFER = "/v2/models/adder/infer"


def request(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]} | changes
    return {"inputs": [{key: value for key, value in tensor.items() if value is not None}]}


def still_answers(server: ModelServer) -> bool:
    return httpx.post(server.url + INFER, json=request()).json()["outputs"][0]["data"] == [6.0]


DEEP_ID = json.dumps(request() | {"id": "ID"}).replace('"ID"', "[" * 1000 + "]" * 1000)
"""JSON that is read, and of which Python cannot tell what it holds."""


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"", 400, "no JSON"),
        (b"\xff\xfe", 400, "no JSON"),
        (b"[1]", 400, "JSON object, not a list"),
        (b"[" * 60_000, 400, "no JSON"),
        (DEEP_ID.encode(), 400, "nested too deeply"),
        (b'{"inputs": [{"name": "features", "data": [NaN]}]}', 400, "no JSON"),
        (json.dumps({}).encode(), 400, "inputs is a list"),
        (json.dumps({"inputs": [7]}).encode(), 400, 'no input "None"'),
        (json.dumps(request(name="feature")).encode(), 400, "did you mean features"),
        (json.dumps(request(datatype="FP64")).encode(), 400, "is FP32, not 'FP64'"),
        (json.dumps(request(shape=[1, 4])).encode(), 400, "the model reads [any, 3]"),
        (json.dumps(request(shape=[3])).encode(), 400, "the model reads [any, 3]"),
        (json.dumps(request(shape=[-1, 3])).encode(), 400, "shape is a list of sizes"),
        (json.dumps(request(shape=[True, 3])).encode(), 400, "shape is a list of sizes"),
        (json.dumps(request(shape=[0, 3], data=[])).encode(), 400, "is empty"),
        (json.dumps(request(data=[1, 2])).encode(), 400, "has 2 values, and the shape [1, 3] has 3"),
        (json.dumps(request(data=[[1, 2], [3]])).encode(), 400, "not nested as its shape"),
        (json.dumps(request(data=[1, None, 3])).encode(), 400, "value 1 is a missing value"),
        (json.dumps(request(data=[1, "2", 3])).encode(), 400, "value 1 is '2'"),
        (json.dumps(request(data=[1, True, 3])).encode(), 400, "value 1 is 'True'"),
        (json.dumps(request(data=[1, 1e39, 3])).encode(), 422, "infinite or beyond the type"),
        (json.dumps(request(data=None)).encode(), 400, "data is a list"),
        (json.dumps(request(parameters={"binary_data_size": 12})).encode(), 400, "0 bytes follow"),
        (json.dumps(request() | {"id": 7}).encode(), 400, "id is a text"),
        (json.dumps(request() | {"parameters": []}).encode(), 400, "parameters of the request"),
        (json.dumps(request() | {"outputs": [{"name": "no"}]}).encode(), 400, 'no output "no"'),
        (
            json.dumps(request() | {"parameters": {"event_timestamp": "yesterday"}}).encode(),
            400,
            "event_timestamp is a moment",
        ),
        (
            json.dumps(request() | {"parameters": {"event_timestamp": "9999-12-31T00:00:00Z"}}).encode(),
            400,
            "of the years 1678 to 2261",
        ),
    ],
)
def test_a_bad_body_is_told(adder: ModelServer, body: bytes, status: int, problem: str) -> None:
    answer = httpx.post(adder.url + INFER, content=body)
    assert answer.status_code == status, answer.text
    assert problem in answer.json()["error"]
    assert answer.json()["reason"]
    assert still_answers(adder)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"inference-header-content-length": "9999"}, 400),
        ({"inference-header-content-length": "0"}, 400),
        ({"inference-header-content-length": "x"}, 400),
        ({"content-encoding": "gzip"}, 415),
    ],
)
def test_a_bad_head_is_told(adder: ModelServer, headers: dict[str, str], status: int) -> None:
    assert httpx.post(adder.url + INFER, json=request(), headers=headers).status_code == status
    assert still_answers(adder)


def test_bytes_that_belong_to_no_tensor_are_refused(adder: ModelServer) -> None:
    text = json.dumps(request()).encode()
    headers = {"inference-header-content-length": str(len(text))}
    answer = httpx.post(adder.url + INFER, content=text + b"more", headers=headers)
    assert "4 bytes after the last binary tensor" in answer.json()["error"]


def test_a_large_body_is_refused_before_it_is_read(adder: ModelServer) -> None:
    with connected(adder) as client:
        client.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 104857600\r\n\r\n" % INFER.encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 413")
    assert still_answers(adder)


def test_a_large_body_without_a_length_is_refused_on_the_way(adder: ModelServer) -> None:
    with connected(adder) as client:
        client.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" % INFER.encode())
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        for _ in range(3):
            client.sendall(chunk)
        assert client.recv(4096).startswith(b"HTTP/1.1 413")
    assert still_answers(adder)


def test_half_a_request_ends_with_its_connection(adder: ModelServer) -> None:
    for half in (
        b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{" % INFER.encode(),
        b"POST /v2",
    ):
        with connected(adder) as client:
            client.sendall(half)
    with connected(adder) as client:
        client.sendall(b"\x00\x01\x02 not HTTP\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 400")
    assert still_answers(adder)


def test_a_body_that_does_not_come_is_not_waited_for(start_server: Start, tmp_path: Any) -> None:
    model = linear_model(tmp_path / "adder.onnx")
    server = start_server(MLINFRA_SERVED_MODEL=str(model), MLINFRA_SERVING_BODY_SECONDS="0.2")
    with connected(server) as client:
        client.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{" % INFER.encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_head_that_does_not_come_is_not_waited_for(start_server: Start, tmp_path: Any) -> None:
    model = linear_model(tmp_path / "adder.onnx")
    server = start_server(MLINFRA_SERVED_MODEL=str(model), MLINFRA_SERVING_BODY_SECONDS="0.2")
    live = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n"
    with connected(server) as silent, connected(server) as slow, connected(server) as kept:
        slow.sendall(live)
        kept.sendall(live + b"\r\n")
        assert b"200 OK" in kept.recv(4096)
        # What comes after an answer is a head as well, also where nothing of it has begun.
        kept.sendall(b"\r\n")
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")
        assert all_of(silent) == b""
        all_of(kept)
    assert still_answers(server)


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nx: ", b"GET / HTTP/1.1\r\n"])
def test_a_large_head_is_not_kept(adder: ModelServer, start: bytes) -> None:
    part = b"a" * 1000 if start.endswith((b"/", b" ")) else b"a: %s\r\n" % (b"b" * 1000)
    with connected(adder) as client:
        client.sendall(start)
        sent = 0
        try:
            while sent < 16_000_000:
                client.sendall(part)
                sent += len(part)
        except ConnectionError:
            pass
        assert sent < 16_000_000
    assert still_answers(adder)


def test_a_head_that_is_too_large_is_told(adder: ModelServer) -> None:
    with connected(adder) as client:
        client.sendall(b"GET / HTTP/1.1\r\nx: ")
        client.sendall(b"a" * 65_600)
        client.sendall(b"a")
        assert client.recv(4096).startswith(b"HTTP/1.1 431")


def test_a_token_is_asked_for(start_server: Start, tmp_path: Any) -> None:
    model = linear_model(tmp_path / "adder.onnx")
    server = start_server(MLINFRA_SERVED_MODEL=str(model), MLINFRA_SERVING_TOKEN="open sesame")
    assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200
    for token, status in ((None, 401), ("wrong", 401), ("open sesame", 200)):
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        assert httpx.post(server.url + INFER, json=request(), headers=headers).status_code == status
        assert httpx.get(f"{server.url}/metrics", headers=headers).status_code == status


def connected(server: ModelServer) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def all_of(client: socket.socket) -> bytes:
    """What comes until the connection ends."""
    parts = []
    while part := client.recv(4096):
        parts.append(part)
    return b"".join(parts)
