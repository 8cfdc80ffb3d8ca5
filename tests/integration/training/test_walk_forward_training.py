"""Walk-forward validation in a real run: metrics of each fold, mean and spread, the newest fold's model."""

import json
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from mlinfra.features import FeatureStore
from mlinfra.resources.built_in_training import TrainingData, Validation
from mlinfra.resources.training_job import Export
from mlinfra.tracking.contract import PROGRESS_TAG
from mlinfra.training.config import ModelConfig, TrainerConfig, TrainingConfig
from mlinfra.training.local import Registration, train_locally


def test_every_fold_is_logged_and_the_newest_one_is_the_result(
    feature_store: FeatureStore, mlflow_server: Any
) -> None:
    config = TrainingConfig(
        data=TrainingData(feature_group="sp500_daily", label="turbulent"),
        model=ModelConfig(parameters={"hiddenSize": 4, "convChannels": [4]}),
        training=TrainerConfig(epochs=2, batch_size=512),
        validation=Validation(strategy="WalkForward", folds=3, embargo=5),
        export=Export(onnx=False),
    )
    training = train_locally(
        config,
        Registration("walk", register=False),
        on_progress=lambda _epoch, _progress: None,
        store=feature_store,
        tracking_uri=mlflow_server.uri,
        experiment_name="walk",
    )
    client = MlflowClient(mlflow_server.uri)
    run = client.get_run(training.run_id)
    metrics = run.data.metrics
    folds = [metrics[f"fold_{number}_test_accuracy"] for number in (1, 2, 3)]
    assert len(set(folds)) > 1
    assert metrics["walk_forward_test_accuracy_mean"] == pytest.approx(np.mean(folds))
    assert metrics["walk_forward_test_accuracy_std"] == pytest.approx(np.std(folds))
    assert metrics["test_accuracy"] == folds[-1]
    assert [fold["test_accuracy"] for fold in training.result.folds] == folds
    steps = [point.step for point in client.get_metric_history(training.run_id, "val_loss")]
    assert sorted(set(steps)) == [1, 2, 3, 4, 5, 6]
    progress = json.loads(run.data.tags[PROGRESS_TAG])
    assert (progress["currentEpoch"], progress["totalEpochs"]) == (6, 6)
    assert run.data.params["folds"] == "3"
    # The newest third of the test rows: hold-out's test part begins in 2015.
    assert run.data.tags["test_period"].startswith("2017-")
