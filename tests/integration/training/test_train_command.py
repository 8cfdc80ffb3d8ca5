"""``python train_model.py`` in an empty folder: example data, local MLflow store, Production."""

import os
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

ROOT = Path(__file__).parents[3]
SECONDS = 180.0


def train_model(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLINFRA_"))
    }
    return subprocess.run(
        [sys.executable, str(ROOT / "train_model.py"), *arguments],
        cwd=folder,
        env=environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_it_trains_registers_and_promotes_in_an_empty_folder(tmp_path: Path) -> None:
    done = train_model(tmp_path, "--epochs", "2", "--lr", "0.001", "--model-name", "mine")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "epoch 2/2  100%" in done.stdout
    assert "baseline" in done.stdout
    assert "2015-01-14 to 2018-12-21" in done.stdout
    assert "mlflow ui --backend-store-uri sqlite:///" in done.stdout
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    version = MlflowClient(store, store).get_model_version_by_alias("mine", "production")
    assert str(version.run_id) in done.stdout
    assert (tmp_path / "data" / "models" / "mine" / str(version.run_id) / "model.onnx").stat().st_size > 1000


def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = train_model(tmp_path, "--feature", "rsi")
    assert done.returncode == 2
    assert 'Error: Feature group "sp500_daily" has no feature "rsi"; did you mean rsi_14?' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['train_model.py', '--help']\n"
        "import atexit\n"
        "atexit.register(lambda: print('heavy:', "
        "[name for name in ('torch', 'mlflow', 'pandas', 'numpy') if name in sys.modules]))\n"
        "from mlinfra.cli.train import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert "--epochs" in done.stdout
    assert "heavy: []" in done.stdout
