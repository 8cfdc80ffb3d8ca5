"""The way from train_model.py to features and tracking needs nothing that only POSIX systems have."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
POSIX_ONLY = ("fcntl", "grp", "pwd", "resource", "termios", "pty", "tty", "readline", "syslog")
CODE = f"""
import sys
sys.modules |= dict.fromkeys({POSIX_ONLY!r})
for module in (
    "mlinfra.cli.main",
    "mlinfra.cli.train_run",
    "mlinfra.cli.training_view",
    "mlinfra.datasets",
    "mlinfra.features",
    "mlinfra.features.own_data",
    "mlinfra.tracking",
    "mlinfra.tracking.tracker",
    "mlinfra.training.local",
    "mlinfra.training.orchestrator",
    "mlflow.store.tracking.sqlalchemy_store",
):
    __import__(module)
from mlinfra.cli.train import main
sys.argv = ["train_model.py", "--print-config"]
main()
"""


def test_train_model_imports_without_modules_of_posix() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "kind: TrainingJob" in done.stdout
