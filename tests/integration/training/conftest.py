"""MLflow's own calls go to the tests' server; a feature store with the example data."""

from pathlib import Path

import pytest
from servers.mlflow_server import MlflowServer

from mlinfra.datasets import write_dataset
from mlinfra.features import FeatureStore, get_feature_store


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
