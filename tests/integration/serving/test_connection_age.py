"""A client that keeps its connection follows a Service to another version, and no request of it fails."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from integration.serving.conftest import Start
from servers.model_server import linear_model

INFER = "/v2/models/adder/infer"
BODY = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
LONGEST_SECONDS = 60.0


class Service:
    """Leads each new connection to the server of now, and keeps those that are there, as kube-proxy does."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.connections = 0
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Service"]:
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as listening:
            host, port = listening.sockets[0].getsockname()
            self.url = f"http://{host}:{port}"
            yield self

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        parts = urlsplit(self.target)
        there = await asyncio.open_connection(parts.hostname, parts.port)
        await asyncio.gather(self._copy(reader, there[1]), self._copy(there[0], writer))

    @staticmethod
    async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except ConnectionError:
            pass
        finally:
            target.close()


async def test_who_keeps_a_connection_follows_the_service(start_server: Start, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    old, new = linear_model(tmp_path / "adder.onnx"), linear_model(tmp_path / "new" / "adder.onnx", bias=100)
    servers = [
        start_server(MLINFRA_SERVED_MODEL=str(model), MLINFRA_SERVING_CONNECTION_SECONDS="0.3")
        for model in (old, new)
    ]
    values: list[float] = []
    async with (
        Service(servers[0].url).running() as service,
        httpx.AsyncClient(base_url=service.url, timeout=30) as client,
    ):
        deadline = time.monotonic() + LONGEST_SECONDS
        while values[-1:] != [106.0] and time.monotonic() < deadline:
            answer = await client.post(INFER, json=BODY)
            assert answer.status_code == 200
            values.append(answer.json()["outputs"][0]["data"][0])
            if len(values) == 20:
                service.target = servers[1].url
    assert set(values) == {6.0, 106.0}
    assert 2 <= service.connections < len(values)


def test_a_connection_ends_with_an_answer_that_says_so(start_server: Start, tmp_path: Path) -> None:
    model = str(linear_model(tmp_path / "adder.onnx"))
    server = start_server(MLINFRA_SERVED_MODEL=model, MLINFRA_SERVING_CONNECTION_SECONDS="0.2")
    ends = 0
    with httpx.Client(base_url=server.url, timeout=30) as client:
        deadline = time.monotonic() + LONGEST_SECONDS
        while ends < 3 and time.monotonic() < deadline:
            answer = client.post(INFER, json=BODY)
            assert answer.json()["outputs"][0]["data"] == [6.0]
            ends += answer.headers.get("connection") == "close"
    assert ends == 3


def test_zero_keeps_connections(start_server: Start, tmp_path: Path) -> None:
    model = str(linear_model(tmp_path / "adder.onnx"))
    server = start_server(MLINFRA_SERVED_MODEL=model, MLINFRA_SERVING_CONNECTION_SECONDS="0")
    with httpx.Client(base_url=server.url, timeout=30) as client:
        ends = [client.post(INFER, json=BODY).headers.get("connection") for _ in range(200)]
    assert set(ends) == {None}


def test_who_speaks_for_another_machine_may_not_swap(start_server: Start, tmp_path: Path) -> None:
    model = str(linear_model(tmp_path / "adder.onnx"))
    server = start_server(MLINFRA_SERVED_MODEL=model)
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        answer = httpx.post(
            f"{server.url}/v2/models/adder/swap", json={"model": model}, headers={header: "10.1.2.3"}
        )
        assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden")
