"""Every architecture trains through the orchestrator, one of another installed package too."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from mlflow import MlflowClient

from mlinfra.features import FeatureStore
from mlinfra.models import architecture_names
from mlinfra.models.registry import BUILT_IN
from mlinfra.training import DataConfig, ModelConfig, TrainerConfig, TrainingOrchestrator, ValidationConfig

PACKAGE = """
from mlinfra.models.architecture import Architecture, ArchitectureConfig
from torch import nn


class LinearConfig(ArchitectureConfig):
    bias: bool = True


def build(config, shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.window * shape.features, shape.outputs, config.bias))


ARCHITECTURE = Architecture(name="linear", config=LinearConfig, build=build)
"""
SMALL: dict[str, dict[str, Any]] = {
    "cnn": {"convChannels": [8]},
    "hybrid_cnn_lstm": {"convChannels": [8], "hiddenSize": 8},
    "lstm": {"hiddenSize": 8},
    "mlp": {"hiddenSizes": [8]},
    "transformer": {"modelSize": 8, "heads": 2, "layers": 1, "feedforwardSize": 8},
    "linear": {"bias": False},
}


@pytest.fixture
def linear_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as pip would leave it: a module, and its metadata with an entry point."""
    folder = tmp_path / "site"
    metadata = folder / "own_networks-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "own_networks.py").write_text(PACKAGE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: own-networks\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[mlinfra.architectures]\nlinear = own_networks:ARCHITECTURE\n"
    )
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.usefixtures("linear_package")
@pytest.mark.parametrize("name", sorted(SMALL))
async def test_architecture_trains(
    name: str,
    feature_store: FeatureStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mlflow_server: Any,
) -> None:
    monkeypatch.setenv("MLINFRA_FEATURE_STORE_URI", str(feature_store.root))
    orchestrator = TrainingOrchestrator(
        model_config=ModelConfig(architecture=name, parameters=SMALL[name]),
        trainer_config=TrainerConfig(epochs=1, learning_rate=0.01),
        data_config=DataConfig(
            feature_group="sp500_daily", label="turbulent", start_date="2005-01-01", window_length=5
        ),
        validation_config=ValidationConfig(embargo=5),
        experiment_name="architectures",
        export_folder=tmp_path / "export",
    )
    result = await orchestrator.train_model(model_name=name, export_int8=True)
    assert result["success"], result
    assert result["test_metrics"]["accuracy"] > 0.3
    assert np.isfinite(list(result["test_metrics"].values())).all()
    session = onnxruntime.InferenceSession(result["onnx_path"], providers=["CPUExecutionProvider"])
    features = session.get_inputs()[0].shape[2]
    (probabilities,) = session.run(None, {"features": np.zeros((7, 5, features), dtype=np.float32)})
    np.testing.assert_allclose(probabilities.sum(axis=1), np.ones(7), atol=1e-5)
    properties = session.get_modelmeta().custom_metadata_map
    assert (properties["mlinfra.architecture"], properties["mlinfra.model_name"]) == (name, name)
    client = MlflowClient(mlflow_server.uri)
    metrics = client.get_run(result["run_id"]).data.metrics
    assert abs(metrics["int8_test_accuracy"] - metrics["test_accuracy"]) < 0.1
    assert metrics["onnx_max_abs_difference"] < 1e-4
    assert metrics["int8_bytes"] < metrics["onnx_bytes"]
    onnxruntime.InferenceSession(result["int8_path"], providers=["CPUExecutionProvider"])
    assert [file.path for file in client.list_artifacts(result["run_id"], "int8")] == ["int8/model.onnx"]


async def test_8_bit_weights_need_a_graph() -> None:
    result = await TrainingOrchestrator().train_model(export_onnx=False, export_int8=True)
    assert (result["success"], result["reason"]) == (False, "InvalidConfig")
    assert "int8 is a copy of the ONNX graph" in result["error"]


@pytest.mark.usefixtures("linear_package")
def test_all_that_is_offered_is_trained_here() -> None:
    assert set(SMALL) == {*BUILT_IN, "linear"} == set(architecture_names())
