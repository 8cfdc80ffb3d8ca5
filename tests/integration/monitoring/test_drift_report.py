"""``mlinfra drift report``: rows of a feature group or a file beside what a model learnt from."""

import json
from collections.abc import Callable
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

START = datetime(2025, 1, 1, tzinfo=UTC)
FEATURES = ["open", "close"]
DAYS = 600

Run = Callable[..., Result]


@pytest.fixture
def frame() -> pd.DataFrame:
    """Rows as those of the training for a year, then ``close`` is three deviations higher."""
    values = np.random.default_rng(5).normal(size=(DAYS, 2))
    values[365:, 1] += 3
    return pd.DataFrame(values, columns=FEATURES).assign(
        symbol="AAPL", event_timestamp=[START + timedelta(days=day) for day in range(DAYS)]
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Adds the features of three rows; its profile lies beside it."""
    metadata = learnt_metadata(FEATURES, window=3)
    path = linear_model(tmp_path / "adder.onnx", features=2, window=3, metadata=metadata)
    learnt = np.random.default_rng(6).normal(size=(3000, 2))
    columns = {name: learnt[:, place] for place, name in enumerate(FEATURES)}
    answers = learnt.sum(axis=1, keepdims=True) * np.sqrt(3)
    profile = build_profile(columns, HeldOut(columns, answers, answers[:, 0]), model_name="adder")
    (tmp_path / PROFILE_FILE).write_bytes(profile.to_json())
    return path


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["drift", "report", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_rows_of_a_feature_group(model: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    store = tmp_path / "store"
    FeatureStore(store).write_offline_features("prices", frame)
    page = tmp_path / "report.html"
    told = json.loads(run(model, "--store", store, "--out", page, "--windows", 5, "-o", "json").stdout)
    assert told["data"] == "feature group prices"
    assert (told["rows"], told["driftedFeatures"]) == (DAYS - 2, ["close"])
    assert [window["outcome"] for window in told["windows"]] == ["ok"] * 3 + ["breached"] * 2
    assert told["prediction"]["score"] > 0.5
    assert "1 of 2 features drifted over all rows: close" in page.read_text()
    calm = run(model, "--store", store, "--to", "2025-12-31", "--group", "prices").stdout
    assert "None of 2 features drifted" in calm


def test_a_file_beside_a_profile_alone(model: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_parquet(tmp_path / "rows.parquet")
    profile = model.with_name(PROFILE_FILE)
    told = run("--profile", profile, "--data", tmp_path / "rows.parquet", "-o", "json")
    document = json.loads(told.stdout)
    assert (document["rows"], document["driftedFeatures"]) == (DAYS, ["close"])
    assert document["prediction"] is None
    over_time = document["features"][0]["overTime"]
    assert [each["drifted"] for each in over_time] == [False] * 3 + [True] * 3


def test_a_file_that_is_damaged_within_is_told_and_writes_no_page(
    model: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame.to_parquet(tmp_path / "rows.parquet")
    content = bytearray((tmp_path / "rows.parquet").read_bytes())
    content[60:-2000] = b"\xff" * len(content[60:-2000])
    (tmp_path / "rows.parquet").write_bytes(content)
    profile, page = model.with_name(PROFILE_FILE), tmp_path / "drift.html"
    told = run("--profile", profile, "--data", tmp_path / "rows.parquet", "--out", page, code=2)
    assert "rows.parquet cannot be read" in told.stderr
    assert not page.exists()


def test_values_that_are_missing_are_counted_as_such(
    model: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame.loc[10:309, "open"] = np.nan
    frame.to_parquet(tmp_path / "rows.parquet")
    arguments = (model, "--data", tmp_path / "rows.parquet", "-o", "json")
    assert "open" in run(*arguments, code=2).output
    document = json.loads(run(*arguments, "--missing", "last").stdout)
    missing = {each["name"]: each["missing"] for each in document["features"]}
    assert missing["open"] == pytest.approx(300 / (DAYS - 2))


def test_what_cannot_be_reported_is_told(model: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_parquet(tmp_path / "rows.parquet")
    rows = ("--data", tmp_path / "rows.parquet")
    assert "either a MODEL or --profile" in run(*rows, code=2).output
    frame.drop(columns="close").to_parquet(tmp_path / "few.parquet")
    assert "no column 'close'" in run(model, "--data", tmp_path / "few.parquet", code=2).output
    frame.drop(columns="event_timestamp").to_parquet(tmp_path / "timeless.parquet")
    assert "--timestamp" in run(model, "--data", tmp_path / "timeless.parquet", code=2).output
    assert "no rows to compare" in run(model, *rows[:1], _first(frame, tmp_path), code=2).output
    (tmp_path / PROFILE_FILE).unlink()
    assert "no reference profile" in run(model, *rows, code=2).output
    assert "cannot be read" in run("--profile", tmp_path / "absent.json", *rows, code=2).output


def _first(frame: pd.DataFrame, folder: Path) -> Path:
    path = folder / "first.parquet"
    frame[:2].to_parquet(path)
    return path
