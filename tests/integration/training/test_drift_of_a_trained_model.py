"""``mlinfra drift`` on a model that was really trained: its name is enough, its profile comes from MLflow."""

import json
from pathlib import Path
from typing import Any

from click.testing import Result
from mlflow import MlflowClient
from typer.testing import CliRunner

from mlinfra.cli.main import app
from mlinfra.features import FeatureStore
from mlinfra.tracking.stages import move_to_stage
from mlinfra.training.config import DataConfig, ModelConfig, TrainerConfig, TrainingConfig
from mlinfra.training.local import Registration, train_locally

NAME = "watched"
GROUP = "sp500_daily"


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["drift", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_a_trained_model_beside_later_rows(
    feature_store: FeatureStore, mlflow_server: Any, tmp_path: Path
) -> None:
    features = ["rsi_14", "range_10"]
    config = TrainingConfig(
        data=DataConfig(
            feature_group=GROUP,
            label="turbulent",
            features=features,
            start_date="2000-01-01",
            end_date="2006-12-31",
        ),
        model=ModelConfig(parameters={"hiddenSize": 8, "convChannels": [8]}),
        training=TrainerConfig(epochs=1),
    )
    trained = train_locally(
        config,
        Registration(NAME),
        on_progress=lambda _epoch, _progress: None,
        store=feature_store,
        experiment_name=NAME,
        export_folder=tmp_path / "exports",
    )
    assert trained.version is not None
    client = MlflowClient(mlflow_server.uri)
    move_to_stage(client, NAME, trained.version, "Archived")
    later = ("--from", "2008-01-01", "--to", "2009-12-31", "--store", feature_store.uri, "-o", "json")
    assert "no version of a model watched is in Production" in run("report", NAME, *later, code=2).output
    move_to_stage(client, NAME, trained.version, "Production")
    page = tmp_path / "drift.html"
    told = json.loads(run("report", NAME, *later, "--threshold", 0.25, "--out", page).stdout)
    assert (told["modelName"], told["modelVersion"]) == (NAME, trained.version)
    assert "range_10" in told["driftedFeatures"]
    assert sum(cell["rows"] for cell in told["prediction"]["cells"]) == told["rows"]
    assert "Drift of watched" in page.read_text()
    calibrated = json.loads(run("report", NAME, *later).stdout)["features"]
    assert {each["name"]: each["score"] for each in calibrated} == {
        each["name"]: each["score"] for each in told["features"]
    }
    together = json.loads(run("multivariate", f"{NAME}/{trained.version}", *later).stdout)
    assert together["referenceRows"] > 500
