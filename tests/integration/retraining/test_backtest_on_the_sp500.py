"""The S&P 500, 2004 to 2012: its features drift, the model still works, and the default policy keeps still.

The command is that of docs/auto_retraining.md.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from mlinfra.datasets import write_dataset
from mlinfra.features import get_feature_store

MLINFRA = Path(sys.executable).with_name("mlinfra")
CONFIG = Path(__file__).parents[3] / "examples" / "backtest_training.yaml"
MOST_TRAININGS = 2


def replaying(store: Path, *, hash_seed: int) -> "subprocess.Popen[str]":
    """The command in a process of its own, with the default policy and none."""
    command = [str(MLINFRA), "retraining", "backtest", "--config", str(CONFIG), "--store", str(store)]
    command += ["--group", "sp500_daily", "--label", "turbulent", "--policy", "never", "--policy", "both"]
    command += ["--train-until", "2003-12-31", "--until", "2012-12-31", "--label-delay", "7d"]
    command += ["--training-days", "1096", "--window-rows", "100", "-o", "json"]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_the_default_policy_trains_at_most_twice_and_the_same_again(tmp_path: Path) -> None:
    write_dataset(get_feature_store(tmp_path), "sp500")
    replays = [replaying(tmp_path, hash_seed=seed) for seed in (1, 2)]
    one, again = (each.communicate()[0] for each in replays)
    assert [each.returncode for each in replays] == [0, 0]
    assert again == one
    never, both = json.loads(one)["policies"]
    assert both["trainings"] == len(both["decisions"]) <= MOST_TRAININGS
    assert (never["trainings"], sorted(both["years"])) == (0, [str(year) for year in range(2004, 2013)])
    assert both["measures"]["accuracy"] > never["measures"]["accuracy"] - 0.01
