"""Model servers in processes of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers.model_server import ModelServer, linear_model

Start = Callable[..., ModelServer]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Start]:
    """Starts servers, each given its environment, that end with the test."""
    servers: list[ModelServer] = []

    def start(*, wait_until_ready: bool = True, **environment: str) -> ModelServer:
        server = ModelServer(environment, tmp_path / f"server-{len(servers)}.log")
        servers.append(server)
        return server.start(wait_until_ready=wait_until_ready)

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def adder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A server of a model that adds three features, for all tests of a file."""
    folder = tmp_path_factory.mktemp("adder")
    path = linear_model(folder / "adder.onnx")
    environment = {"MLINFRA_SERVED_MODEL": str(path), "MLINFRA_SERVING_MAX_BODY_BYTES": "65536"}
    server = ModelServer(environment, folder / "server.log")
    yield server.start()
    server.stop()
