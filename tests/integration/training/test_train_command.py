"""``python train_model.py`` in an empty folder: example data, local MLflow store, Production."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient

ROOT = Path(__file__).parents[3]
SECONDS = 180.0


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLINFRA_"))
    }
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train_model.py"), *arguments],
        cwd=folder,
        env=environ | {"COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train_model(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    with start(folder, *arguments) as process:
        try:
            output, errors = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


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


def own_data(folder: Path) -> Path:
    """Two years of days on which up follows the price of the day before."""
    price = np.random.default_rng(0).normal(size=700).round(6)
    frame = pd.DataFrame({"day": pd.date_range("2022-01-01", periods=700, freq="D"), "price": price})
    frame["up"] = (frame["price"].shift(1, fill_value=0.0) > 0).astype(int)
    frame.to_csv(folder / "mine.csv", index=False)
    return folder / "mine.csv"


SMALL = ("--window", "4", "--parameter", "hiddenSize=8", "--no-onnx", "--min-accuracy", "0")


def test_own_data_in_one_line_is_written_once_and_trains_again_from_its_manifest(tmp_path: Path) -> None:
    own_data(tmp_path)
    line = ("--data", "mine.csv", "--label", "up", "--timestamp", "day", "--epochs", "3", *SMALL)
    first = train_model(tmp_path, *line)
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.startswith("hybrid_cnn_lstm learns up of mine\n")
    assert "mine.csv: 700 rows, 2022-01-01 to 2023-12-01, written to feature group mine" in first.stdout
    assert "all rows are of one entity, kept as column entity with the value mine" in first.stdout
    printed = train_model(tmp_path, *line, "--print-config")
    (tmp_path / "train.yaml").write_text(printed.stdout)
    again = train_model(tmp_path, "--config", "train.yaml", "--data", "mine.csv", "--timestamp", "day")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "all of them already in feature group mine" in again.stdout
    assert accuracies(again.stdout) == accuracies(first.stdout)
    assert "2 of mine" in again.stdout


def accuracies(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines() if line.strip().startswith("accuracy")]


def test_ctrl_c_ends_the_run_and_a_second_one_the_process(tmp_path: Path) -> None:
    own_data(tmp_path)
    line = ("--data", "mine.csv", "--label", "up", "--epochs", "100000", "--patience", "0", *SMALL)
    process = start(tmp_path, *line, "--timestamp", "day")
    try:
        assert process.stdout is not None
        while "epoch 1/" not in (text := process.stdout.readline()):
            assert text, "the training ended before it was stopped"
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, rest
    assert "Stopping in order; once more ends it at once." in rest
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (run,) = MlflowClient(store, store).search_runs(["0"])
    assert run.info.status == "FAILED"
    assert run.data.metrics["val_accuracy"] > 0


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
