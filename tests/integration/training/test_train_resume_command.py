"""``train_model.py`` stopped in an epoch and gone on with by ``--resume``, in two processes: one run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

ROOT = Path(__file__).parents[3]
SECONDS = 180.0
ARGUMENTS = ("--epochs", "6", "--batch-size", "256", "--no-onnx", "--parameter", "hiddenSize=4")


@pytest.fixture(autouse=True)
def _mlflow_environment() -> None:
    """The command's MLflow is a file."""


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLINFRA_"))
    }
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train_model.py"), *ARGUMENTS, "--model-name", "mine", *arguments],
        cwd=folder,
        env=environ | {"COLUMNS": "120", "MLINFRA_STATE_DIR": str(folder / "state")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_stopped_training_goes_on(tmp_path: Path) -> None:
    stopped = start(tmp_path, "--checkpoint-every", "2")
    assert stopped.stdout is not None
    try:
        while "epoch 3/6" not in (line := stopped.stdout.readline()):
            assert line, "the training ended before it was stopped"
        stopped.send_signal(signal.SIGTERM)
        rest, _ = stopped.communicate(timeout=SECONDS)
    finally:
        stopped.kill()
        stopped.wait()
    assert stopped.returncode == 130, rest
    assert "its state is in a checkpoint" in rest

    resumed = start(tmp_path, "--resume", "--processes", "2")
    output, _ = resumed.communicate(timeout=SECONDS)
    assert resumed.returncode == 0, output
    assert "The training goes on from checkpoint" in output
    assert "epoch 2/6" not in output
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(store, store)
    (version,) = client.search_model_versions("name='mine'")
    history = client.get_metric_history(version.run_id, "val_loss")
    assert [point.step for point in history][:-1] == [1, 2, 3, 4, 5, 6]

    again = start(tmp_path, "--resume")
    output, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == 2, output
    assert "which is finished: train anew" in output
    assert client.get_run(version.run_id).info.status == "FINISHED"
