"""Pods that are stopped and killed go on from their checkpoints: one run, the curve of one left alone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mlinfra.datasets import write_dataset
from mlinfra.features import FeatureStore, get_feature_store
from mlinfra.tracking.contract import ATTEMPT_TAG, FEATURE_SNAPSHOT_TAG

SECONDS = 120.0
EXPERIMENT = "resumed pods"
EPOCHS = 8
Curve = list[tuple[int, float]]


def job(checkpoints: Path | None) -> str:
    spec: dict[str, Any] = {
        "modelName": "resumed",
        "model": {
            "architecture": "hybrid_cnn_lstm",
            "parameters": {"hiddenSize": 4, "convChannels": [4], "dropout": 0.0},
        },
        "data": {"featureGroup": "sp500_daily", "label": "turbulent", "windowLength": 5},
        "training": {"epochs": EPOCHS, "batchSize": 64, "scheduler": {"name": "OneCycleLR"}},
        "validation": {"embargo": 5},
        "export": {"onnx": False},
    }
    if checkpoints is not None:
        spec["checkpoint"] = {"storageUri": checkpoints.as_uri(), "everyEpochs": 3}
    return json.dumps({"metadata": {"name": "resumed"}, "spec": spec})


class Pods:
    """Training processes that share what a TrainingJob's pods share."""

    def __init__(self, client: MlflowClient, uri: str, store: FeatureStore) -> None:
        self.client = client
        self._environ = os.environ | {
            "MLFLOW_TRACKING_URI": uri,
            "MLINFRA_FEATURE_STORE_URI": store.root.as_uri(),
            "OMP_NUM_THREADS": "1",
        }

    def new_run(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else self.client.create_experiment(EXPERIMENT)
        return str(self.client.create_run(experiment).info.run_id)

    def start(self, run_id: str, job: str, *command: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command or [sys.executable, "-m", "mlinfra.training"],
            env=self._environ | {"MLFLOW_RUN_ID": run_id, "MLINFRA_TRAINING_JOB": job},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, run_id: str, job: str, *command: str) -> str:
        process = self.start(run_id, job, *command)
        output, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, output
        return output

    def run_until(self, epoch: int, stop: signal.Signals, run_id: str, job: str) -> tuple[int, str]:
        process = self.start(run_id, job)
        try:
            assert process.stdout is not None
            for line in iter(process.stdout.readline, ""):
                if f" epoch {epoch}/{EPOCHS} " in line:
                    break
            else:
                raise AssertionError("the training ended before it was stopped")
            process.send_signal(stop)
            rest, _ = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
            process.wait()
        return process.returncode, rest

    def curve(self, run_id: str, metric: str) -> Curve:
        return [(point.step, point.value) for point in self.client.get_metric_history(run_id, metric)]


@pytest.fixture(scope="module")
def pods(mlflow_server: Any, feature_store: FeatureStore) -> Pods:
    return Pods(MlflowClient(mlflow_server.uri), mlflow_server.uri, feature_store)


@pytest.fixture(scope="module")
def alone(pods: Pods) -> str:
    """A run that nothing interrupted."""
    run_id = pods.new_run()
    pods.run(run_id, job(None))
    return run_id


def epochs_of(curve: Curve) -> Curve:
    """Without the best epoch's values, which the end of a run logs once more at its last step."""
    return curve[:-1]


def test_stopped_and_killed_pods_end_with_the_bits_of_one_left_alone(
    pods: Pods, alone: str, tmp_path: Path
) -> None:
    run_id, asked = pods.new_run(), job(tmp_path)
    code, rest = pods.run_until(2, signal.SIGTERM, run_id, asked)
    assert code == 143, rest
    assert "its state is in a checkpoint" in rest
    (checkpoint,) = (tmp_path / "resumed" / run_id).iterdir()
    assert checkpoint.name.startswith("001-0000000")

    code, rest = pods.run_until(5, signal.SIGKILL, run_id, asked)
    assert code == -signal.SIGKILL

    output = pods.run(run_id, asked)
    assert "The training goes on from checkpoint 001-00000003-00000000, after 3 epochs." in output
    for metric in ("train_loss", "val_loss", "val_accuracy"):
        curve = pods.curve(run_id, metric)
        assert [step for step, _ in epochs_of(curve)] == list(range(1, EPOCHS + 1))
        assert curve == pods.curve(alone, metric)
    run, other = pods.client.get_run(run_id), pods.client.get_run(alone)
    assert run.info.status == "FINISHED"
    assert run.data.tags[ATTEMPT_TAG] == "3"
    assert run.data.metrics["test_accuracy"] == other.data.metrics["test_accuracy"]
    assert run.data.metrics["test_log_loss"] == other.data.metrics["test_log_loss"]


ENTRY = ["-m", "mlinfra.training.torchrun"]
TORCHRUN = [*ENTRY, "--standalone", "--nproc-per-node=2", "-m", "mlinfra.training"]


@pytest.mark.parametrize(
    ("command", "tolerance"),
    [
        pytest.param(["-m", "mlinfra.training"], 0.0, id="one process"),
        # The second process is told the rows by the first one: by itself it would read the new ones.
        pytest.param(TORCHRUN, 1e-5, id="torchrun"),
    ],
)
def test_rows_written_between_attempts_change_nothing(
    mlflow_server: Any, pods: Pods, alone: str, tmp_path: Path, command: list[str], tolerance: float
) -> None:
    store = get_feature_store(tmp_path / "store")
    write_dataset(store, "sp500")
    pods_of_store = Pods(pods.client, mlflow_server.uri, store)
    run_id, asked = pods.new_run(), job(tmp_path / "checkpoints")
    code, rest = pods_of_store.run_until(2, signal.SIGTERM, run_id, asked)
    assert code == 143, rest
    snapshot_id = pods.client.get_run(run_id).data.tags[FEATURE_SNAPSHOT_TAG]
    rewrite(store)

    output = pods_of_store.run(run_id, asked, sys.executable, *command)
    assert f"the rows are those of the earlier attempts, {snapshot_id}" in output
    assert "The training goes on from checkpoint" in output
    assert pods.client.get_run(run_id).data.tags[FEATURE_SNAPSHOT_TAG] == snapshot_id
    for metric in ("train_loss", "val_loss"):
        curve, expected = pods.curve(run_id, metric), pods.curve(alone, metric)
        assert [step for step, _ in curve] == [step for step, _ in expected]
        values = [value for _, value in expected]
        assert [value for _, value in curve] == pytest.approx(values, rel=0, abs=tolerance)


def rewrite(store: FeatureStore) -> None:
    """Other values for every row, as a correction would write them."""
    frame = store.read_offline_features("sp500_daily")
    store.write_offline_features("sp500_daily", frame.assign(rsi_14=frame["rsi_14"] / 2))


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(TORCHRUN, id="torchrun"),
        pytest.param(["-m", "mlinfra.training", "--processes", "2"], id="processes of our own"),
    ],
)
def test_two_processes_fill_one_run_with_the_curve_of_one(
    pods: Pods, alone: str, tmp_path: Path, command: list[str]
) -> None:
    run_id = pods.new_run()
    pods.run(run_id, job(tmp_path), sys.executable, *command)
    curve = pods.curve(run_id, "train_loss")
    assert [step for step, _ in curve] == [step for step, _ in pods.curve(alone, "train_loss")]
    expected = [value for _, value in pods.curve(alone, "train_loss")]
    assert [value for _, value in curve] == pytest.approx(expected, rel=0, abs=1e-5)
    assert pods.client.get_run(run_id).data.tags[ATTEMPT_TAG] == "1"
    assert len(list((tmp_path / "resumed" / run_id).iterdir())) == 2
