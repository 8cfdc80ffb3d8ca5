"""The example of a training does what it says, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

EXAMPLE = Path(__file__).parents[3] / "examples" / "train_model_example.py"
SECONDS = 540.0


@pytest.mark.timeout(600)
def test_the_example_brings_a_model_to_production(tmp_path: Path) -> None:
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLINFRA_"))
    }
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^quick: run [0-9a-f]{32}, version 1, stage None$", done.stdout, re.MULTILINE)
    assert "careful: epoch 3/3" in done.stdout
    assert "careful: version 2 is in Production, as ONNX in data/models/hybrid_cnn_lstm/" in done.stdout
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    version = MlflowClient(store, store).get_model_version_by_alias("hybrid_cnn_lstm", "production")
    assert str(version.version) == "2"
    (onnx,) = re.findall(r"as ONNX in (\S+)", done.stdout)
    assert (tmp_path / onnx).stat().st_size > 1000
