"""``mlinfra drift multivariate``: rows whose features are each as before, but go together otherwise."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from servers.model_server import learnt_metadata, linear_model
from typer.testing import CliRunner

from mlinfra.cli.main import app
from mlinfra.features import FeatureStore
from mlinfra.monitoring.profile import PROFILE_FILE, HeldOut, build_profile

FEATURES = ["open", "close", "volume"]
START = datetime(2024, 1, 1, tzinfo=UTC)
LEARNT, DAYS = 400, 700


@pytest.fixture
def frame() -> pd.DataFrame:
    """Three features that go together until day 550, and are independent of each other from then on."""
    generator = np.random.default_rng(8)
    values = generator.normal(size=(DAYS, 1)) + 0.2 * generator.normal(size=(DAYS, 3))
    values[550:] = generator.normal(size=(DAYS - 550, 3)) * np.sqrt(1.04)
    return pd.DataFrame(values, columns=FEATURES).assign(
        symbol="AAPL", event_timestamp=[START + timedelta(days=day) for day in range(DAYS)]
    )


@pytest.fixture
def model(frame: pd.DataFrame, tmp_path: Path) -> Path:
    """Its profile tells that it learnt from the first days."""
    path = linear_model(tmp_path / "adder.onnx", features=3, window=1, metadata=learnt_metadata(FEATURES))
    columns = {name: frame[name].to_numpy()[:LEARNT] for name in FEATURES}
    answers = np.column_stack(list(columns.values())).sum(axis=1, keepdims=True)
    last = START + timedelta(days=LEARNT - 1)
    profile = build_profile(
        columns,
        HeldOut(columns, answers, answers[:, 0]),
        periods={"train": f"{START:%Y-%m-%d}/{last:%Y-%m-%d}"},
    )
    (tmp_path / PROFILE_FILE).write_bytes(profile.to_json())
    FeatureStore(tmp_path / "store").write_offline_features("prices", frame)
    return path


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["drift", "multivariate", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.mark.parametrize("method", ["PCAReconstruction", "DomainClassifier"])
def test_the_training_is_the_reference(model: Path, tmp_path: Path, method: str) -> None:
    group = ("--store", tmp_path / "store", "--method", method, "-o", "json")
    first, last = START + timedelta(days=550), START + timedelta(days=DAYS)
    told = json.loads(run(model, *group, "--from", f"{first:%Y-%m-%d}", "--to", f"{last:%Y-%m-%d}").stdout)
    assert told["drifted"]
    assert (told["schemaVersion"], told["method"]) == (1, method)
    assert (told["rows"], told["referenceRows"]) == (150, LEARNT)
    calm, until = START + timedelta(days=LEARNT), START + timedelta(days=549)
    told = json.loads(run(model, *group, "--from", f"{calm:%Y-%m-%d}", "--to", f"{until:%Y-%m-%d}").stdout)
    assert not told["drifted"]


def test_files_beside_a_profile_alone(model: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    before, now = tmp_path / "before.parquet", tmp_path / "now.parquet"
    frame[:LEARNT].to_parquet(before)
    frame[550:].to_parquet(now)
    arguments = ("--profile", model.with_name(PROFILE_FILE), "--data", now, "--reference", before)
    told = run(*arguments, "--every", 2).stdout
    assert "3 features together drifted" in told
    assert f"75 rows of {now} beside 200 of {before}" in told.replace("\n", " ")


def test_what_cannot_be_compared_is_told(model: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "now.parquet"
    frame[:10].to_parquet(path)
    group = ("--reference-group", "prices", "--store", tmp_path / "store")
    profile = ("--profile", model.with_name(PROFILE_FILE))
    assert "a multivariate check needs" in run(*profile, "--data", path, *group, code=2).output
    frame.assign(open=np.inf).to_parquet(path)
    assert "infinite" in run(*profile, "--data", path, *group, code=2).output
    assert "give --group or --data" in run(*profile, code=2).output
    assert "either a MODEL or --profile" in run("--data", path, code=2).output
