"""A value is learnt, served in its own unit and judged against the last known value."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mlinfra.features import FeatureStore
from mlinfra.training import DataConfig, ModelConfig, TrainerConfig, TrainingOrchestrator, ValidationConfig

EMBARGO = 5
UNIT = 1e4


@pytest.fixture(scope="module")
def value_group(feature_store: FeatureStore) -> str:
    """The example features, and a value to learn: the range of the day five rows later, in basis points."""
    frame = feature_store.read_offline_features("sp500_daily")
    frame = frame.sort_values("event_timestamp").drop(columns=["turbulent"])
    frame["range_ahead"] = frame["range"].shift(-EMBARGO) * UNIT
    feature_store.write_offline_features("sp500_values", frame.dropna().tail(1500))
    return "sp500_values"


async def test_a_value_is_learnt(
    value_group: str, feature_store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLINFRA_FEATURE_STORE_URI", str(feature_store.root))
    orchestrator = TrainingOrchestrator(
        model_config=ModelConfig(parameters={"hiddenSize": 8, "convChannels": [8]}),
        trainer_config=TrainerConfig(epochs=3, learning_rate=0.01),
        data_config=DataConfig(
            feature_group=value_group, label="range_ahead", task="Regression", window_length=5
        ),
        validation_config=ValidationConfig(embargo=EMBARGO),
        experiment_name="regression",
        export_folder=tmp_path,
    )
    result = await orchestrator.train_model(model_name="range")
    assert result["success"], result
    assert result["test_metrics"]["mae"] < result["baseline_metrics"]["mae"]
    assert (result["stage"], result["baseline_accuracy"]) == ("Production", None)
    session = onnxruntime.InferenceSession(result["onnx_path"], providers=["CPUExecutionProvider"])
    frame = feature_store.read_offline_features(value_group).sort_values("event_timestamp")
    names = [name for name in frame.columns if name not in ("event_timestamp", "symbol", "range_ahead")]
    window = frame[names].to_numpy(dtype=np.float32)[None, -5:]
    (answer,) = session.run(["value"], {"features": window})
    assert answer.shape == (1, 1)
    assert frame["range_ahead"].min() / 2 < answer.item() < frame["range_ahead"].max() * 2


async def test_class_weights_without_classes_are_refused(
    value_group: str, feature_store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLINFRA_FEATURE_STORE_URI", str(feature_store.root))
    orchestrator = TrainingOrchestrator(
        trainer_config=TrainerConfig(class_weights="Balanced"),
        data_config=DataConfig(feature_group=value_group, label="range_ahead", task="Regression"),
        experiment_name="regression",
    )
    result = await orchestrator.train_model(model_name="range")
    assert (result["success"], result["reason"]) == (False, "InvalidConfig")
