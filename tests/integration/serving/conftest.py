"""Model servers in processes of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.serving.adder_traffic import FEATURES, adder_profile
from servers.model_server import ModelServer, learnt_metadata, linear_model

from mlinfra.monitoring.profile import PROFILE_FILE

Start = Callable[..., ModelServer]
Started = Callable[..., ModelServer]


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


@pytest.fixture
def start(start_server: Start, tmp_path: Path) -> Started:
    """Starts servers of one model with a reference profile, that log what they answer and count it."""
    model = linear_model(tmp_path / "adder.onnx", features=2, window=1, metadata=learnt_metadata(FEATURES))
    (tmp_path / PROFILE_FILE).write_bytes(adder_profile().to_json())

    def started(**environment: str) -> ModelServer:
        return start_server(
            **{
                "MLINFRA_SERVED_MODEL": str(model),
                "MLINFRA_PREDICTION_LOG_URI": str(tmp_path / "log"),
                "MLINFRA_MONITORING_URI": (tmp_path / "monitoring").as_uri(),
                "MLINFRA_SERVING_LOG_SECONDS": "0.1",
                "POD_NAME": "one",
            }
            | environment
        )

    return started
