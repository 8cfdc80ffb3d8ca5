"""A real MLflow server, and a feature store with the example data."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlinfra.datasets import write_dataset
from mlinfra.features import FeatureStore, get_feature_store
from mlinfra.local.mlflow_server import ENVIRONMENT, mlflow_server_argv

START_SECONDS = 60.0


@dataclass(slots=True)
class MlflowServer:
    """A server that can be stopped and started again with its data."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                mlflow_server_argv(folder=self.folder, port=self.port),
                env=os.environ | ENVIRONMENT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._healthy():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, "MLflow did not become healthy"
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(folder=tmp_path_factory.mktemp("mlflow"), port=free_port())
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def _mlflow_environment(mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own calls go to the server of these tests, never to a store in the working folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


@pytest.fixture(scope="session")
def feature_store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    store = get_feature_store(tmp_path_factory.mktemp("features"))
    write_dataset(store, "sp500")
    return store
