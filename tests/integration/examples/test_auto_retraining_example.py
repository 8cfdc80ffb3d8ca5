"""The example of the retraining loop does what it says, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "auto_retraining_example.py"
SECONDS = 280.0


@pytest.mark.timeout(300)
def test_the_example_trains_by_hand_and_stops(tmp_path: Path) -> None:
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
    assert "running: True, next training: 20" in done.stdout
    assert re.search(r"^version 1 is in stage (Production|None): ", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("running: False\n")
    log = (tmp_path / "logs" / "retraining" / "hybrid_cnn_lstm.log").read_text()
    assert "Training by trigger manual" in log
    assert "Version 1 of hybrid_cnn_lstm is in stage" in log
