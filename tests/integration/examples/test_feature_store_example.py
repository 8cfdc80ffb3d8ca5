"""The example of the feature store does what it says, also when it is run again."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

from mlinfra.features import FeatureStore

EXAMPLE = Path(__file__).parents[3] / "examples" / "feature_store_example.py"
SECONDS = 120.0


def run_example(folder: Path) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MLINFRA_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_runs_twice_in_an_empty_folder(tmp_path: Path) -> None:
    first = run_example(tmp_path)
    assert "rsi_change@1.0\n  computed from:\n    rsi_14@1.1\n      raw:close\n" in first
    assert "4965 rows written, 1 quarantined" in first
    assert "rsi_change is above the maximum 100" in first
    assert "training set: 1001 rows, columns event_timestamp, symbol, turbulent, volatility_20" in first
    assert "4965 rows of sp500_momentum, unchanged by a later write: True" in first
    assert "online ^GSPC: [0. 0.] (present, present)" in first
    assert "online ^NOBODY: [nan nan] (missing, missing)" in first
    assert "a vector of its own: [0.3 1.7]" in first
    assert "all as expected: True" in first
    assert "all as expected: True" in run_example(tmp_path)


def test_what_the_example_wrote_is_in_the_store(tmp_path: Path) -> None:
    run_example(tmp_path)
    store = FeatureStore(tmp_path / "data" / "feature_store")
    rows = store.read_offline_features("sp500_momentum", "1999-03-31", "2018-12-31")
    assert len(rows) == 4965
    assert rows["rsi_change"].iloc[-1] == 0.0
    assert store.describe_feature("rsi_change").feature_groups == ("sp500_momentum",)
    assert isinstance(rows["event_timestamp"].dtype, pd.DatetimeTZDtype)
