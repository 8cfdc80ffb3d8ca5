"""A real MLflow server, and a feature store with the example data."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.mlflow_server import MlflowServer, free_port

from mlinfra.datasets import write_dataset
from mlinfra.features import FeatureStore, get_feature_store


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(folder=tmp_path_factory.mktemp("mlflow"), port=free_port())
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def _mlflow_environment(mlflow_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own calls go to the server of these tests, never to a store in the working folder."""
    monkeypatch.setenv("MLINFRA_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


@pytest.fixture(scope="session")
def feature_store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    store = get_feature_store(tmp_path_factory.mktemp("features"))
    write_dataset(store, "sp500")
    return store
