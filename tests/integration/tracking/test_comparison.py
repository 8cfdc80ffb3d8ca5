"""Runs side by side: the table, the plot, and the commands."""

import math
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from mlinfra.cli.main import app
from mlinfra.errors import InvalidInputError
from mlinfra.tracking import compare_runs, get_mlflow_tracker

MARGIN = {"COLUMNS": "240"}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture(autouse=True)
def _environment(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLINFRA_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


@pytest.fixture(scope="module")
def run_ids(uri: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three runs: two with curves and equal names, one that has not even the metric."""
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("compared", str(tmp_path_factory.mktemp("artifacts")))
    ids = []
    for number, rate in enumerate((0.1, 0.01)):
        run = client.create_run(experiment, run_name="tuned", start_time=1_000_000 + number)
        client.log_param(run.info.run_id, "rate", rate)
        client.log_param(run.info.run_id, "epochs", 3)
        for step in range(3):
            client.log_metric(run.info.run_id, "val_loss", 1.0 / (step + 1 + number), step=step)
        client.log_metric(run.info.run_id, "test_accuracy", 0.8 + number / 10)
        client.set_terminated(run.info.run_id, "FINISHED")
        ids.append(run.info.run_id)
    failed = client.create_run(experiment, run_name="failed", start_time=1_000_002)
    client.log_param(failed.info.run_id, "rate", 0.1)
    client.log_param(failed.info.run_id, "epochs", 3)
    client.set_terminated(failed.info.run_id, "FAILED")
    client.create_registered_model("model")
    for run_id in ids:
        client.create_model_version("model", source="file:///nowhere", run_id=run_id)
    return [*ids, failed.info.run_id]


def test_table_shows_what_differs(run_ids: list[str]) -> None:
    table = compare_runs(run_ids).table
    assert list(table.index) == run_ids
    assert list(table.columns) == [
        "name",
        "status",
        "started",
        "params.rate",
        "metrics.test_accuracy",
        "metrics.val_loss",
    ]
    assert list(table["params.rate"]) == ["0.1", "0.01", "0.1"]
    assert list(table["metrics.test_accuracy"])[:2] == [0.8, 0.9]
    assert math.isnan(table["metrics.test_accuracy"].iloc[2])
    chosen = compare_runs(run_ids[:2], params=["epochs"], metrics=["val_loss"]).table
    assert list(chosen.columns)[3:] == ["params.epochs", "metrics.val_loss"]
    assert "test_accuracy" in str(compare_runs(run_ids))
    assert "<table" in compare_runs(run_ids)._repr_html_()


def test_runs_of_an_experiment_and_of_a_model_newest_first(run_ids: list[str]) -> None:
    assert list(compare_runs(experiment="compared").table.index) == run_ids[::-1]
    assert list(compare_runs(experiment="compared", max_runs=1).table.index) == run_ids[2:]
    assert list(compare_runs(model="model").table.index) == run_ids[1::-1]
    # A run named twice is shown once; its own parameters differ from nobody's.
    assert list(compare_runs([run_ids[0]] * 2).table.columns) == [
        "name", "status", "started", "metrics.test_accuracy", "metrics.val_loss"
    ]  # fmt: skip


def test_curves_where_there_are_any_else_bars(run_ids: list[str]) -> None:
    figure = compare_runs(run_ids).plot()
    bars, curves = figure.axes
    assert (bars.get_title(), len(bars.patches)) == ("test_accuracy", 3)
    assert (curves.get_title(), len(curves.lines)) == ("val_loss", 2)
    legend = curves.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [f"tuned {each[:6]}" for each in run_ids[:2]]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"run_ids": ["0123456789abcdef0123456789abcdef"]}, 'no run "0123456789abcdef0123456789abcdef"'),
        ({"run_ids": ["not an id"]}, 'no run "not an id"'),
        ({"experiment": "compered"}, 'no experiment "compered"; did you mean compared'),
        ({"model": "nobody"}, 'no versions of a model "nobody"; there are: model'),
        ({"experiment": "compared", "metrics": ["val_los"]}, "did you mean val_loss"),
        ({"experiment": "compared", "params": ["rat"]}, "did you mean rate"),
    ],
)
def test_what_is_not_there_is_named(run_ids: list[str], wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        compare_runs(**wanted)


def test_a_deleted_run_and_unknown_metrics_are_told(run_ids: list[str]) -> None:
    with get_mlflow_tracker() as tracker:
        run_id = tracker.start_run("short")
    comparison = compare_runs([run_id])
    with pytest.raises(InvalidInputError, match="no metrics to plot"):
        comparison.plot()
    with pytest.raises(InvalidInputError, match='no run in the table has a metric "loss"'):
        comparison.plot(["loss"])
    tracker.client.delete_run(run_id)
    with pytest.raises(InvalidInputError, match="is deleted"):
        compare_runs([run_id])


def test_commands(run_ids: list[str], tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["runs", "list", "--experiment", "compared"], env=MARGIN)
    assert listed.exit_code == 0, listed.output
    assert "TEST_ACCURACY" in listed.output
    assert all(run_id in listed.output for run_id in run_ids)
    narrow = CliRunner().invoke(app, ["runs", "list", "--experiment", "compared"], env={"COLUMNS": "80"})
    assert all(run_id in narrow.output for run_id in run_ids)
    piped = CliRunner().invoke(app, ["runs", "list", "--experiment", "compared"], env={"COLUMNS": None})
    assert "…" not in piped.output
    assert "1970-01-01 00:16" in piped.output
    plot = tmp_path / "runs.png"
    compared = CliRunner().invoke(app, ["runs", "compare", *run_ids, "--plot", str(plot)], env=MARGIN)
    assert compared.exit_code == 0, compared.output
    assert "params.rate" in compared.output
    assert "params.epochs" not in compared.output
    assert plot.read_bytes().startswith(b"\x89PNG")
    unknown = CliRunner().invoke(app, ["runs", "compare", "nobody"], env=MARGIN)
    assert unknown.exit_code == 2
    assert 'no run "nobody"' in unknown.output
    bad = CliRunner().invoke(
        app, ["runs", "compare", run_ids[0], "--plot", str(tmp_path / "a.xyz")], env=MARGIN
    )
    assert bad.exit_code == 2
    assert "--plot" in bad.output
