"""What a graph says of itself."""

import json

import numpy as np
import pytest

from mlinfra import __version__
from mlinfra.resources.built_in_training import TrainingData, Validation
from mlinfra.training import metadata
from mlinfra.training.config import TrainingConfig
from mlinfra.training.metadata import model_metadata
from mlinfra.training.objective import Classification, Objective, Regression
from mlinfra.training.rows import LabelledRows
from mlinfra.training.samples import make_samples


def described(objective: Objective, classes: tuple[object, ...], **changes: object) -> dict[str, str]:
    rows = LabelledRows(
        features=np.arange(200, dtype=np.float32).reshape(100, 2),
        label=np.arange(100) % 2,
        time=np.datetime64("2020-01-01", "ns") + np.arange(100) * np.timedelta64(1, "D"),
        entity=np.zeros(100, dtype=np.int64),
        feature_names=("a", "b"),
        classes=classes,
    )
    data = TrainingData(feature_group="group", label="up", **changes)
    config = TrainingConfig(data=data)
    samples = make_samples(rows, Validation(), window=4)
    return model_metadata(config, samples, objective, model_name="mine")


def test_metadata_of_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "working_commit", lambda: "abc-dirty")
    written = described(Classification(2), ("down", "up"))
    assert json.loads(written.pop("mlinfra.schema")) == {
        "inputs": [{"name": "features", "dtype": "float32", "shape": ["batch", 4, 2]}],
        "outputs": [{"name": "probabilities", "dtype": "float32", "shape": ["batch", 2]}],
    }
    assert written == {
        "mlinfra.version": __version__,
        "mlinfra.model_name": "mine",
        "mlinfra.git_sha": "abc-dirty",
        "mlinfra.task": "Classification",
        "mlinfra.architecture": "hybrid_cnn_lstm",
        "mlinfra.features": '["a", "b"]',
        "mlinfra.window_length": "4",
        "mlinfra.label": "up",
        "mlinfra.classes": '["down", "up"]',
        "mlinfra.feature_group": "group",
        "mlinfra.train_period": "2020-01-04/2020-03-05",
        "mlinfra.validation_period": "2020-03-06/2020-03-20",
        "mlinfra.test_period": "2020-03-21/2020-04-09",
    }


def test_metadata_of_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "working_commit", lambda: None)
    written = described(Regression(1.0, 2.0), (), task="Regression")
    assert written["mlinfra.unit"] == "the unit of up"
    assert json.loads(written["mlinfra.classes"]) == []
    assert json.loads(written["mlinfra.schema"])["outputs"] == [
        {"name": "value", "dtype": "float32", "shape": ["batch", 1]}
    ]
    assert "mlinfra.git_sha" not in written
