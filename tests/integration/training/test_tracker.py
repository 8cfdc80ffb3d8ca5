"""The tracker's calls, as the guide promises them, against a real MLflow server."""

import json
import time
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mlinfra.tracking import get_mlflow_tracker
from mlinfra.tracking.errors import NoActiveRunError, TrackingRefusedError
from mlinfra.tracking.tracker import MlflowTracker
from mlinfra.tracking.writer import Pace

SECONDS = 60.0


@pytest.fixture
def tracker() -> MlflowTracker:
    return get_mlflow_tracker(experiment_name="tracker")


def test_a_run_from_start_to_production(tracker: MlflowTracker) -> None:
    with tracker:
        run_id = tracker.start_run(run_name="first")
        tracker.log_params({"learning_rate": 0.001, "layers": [32, 32]})
        tracker.log_metrics({"loss": 0.5}, step=10)
        uri = tracker.log_model(torch.nn.Linear(3, 2), "my_model", input_example=np.zeros((1, 3), "float32"))
        versions = [tracker.register_model(uri, "my_model") for _ in range(2)]
        for version in versions:
            tracker.transition_model_stage("my_model", version, "Production")
    run = tracker.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.data.params == {"learning_rate": "0.001", "layers": "[32, 32]"}
    assert run.data.metrics == {"loss": 0.5}
    assert versions == ["1", "2"]
    stages = {
        str(each.version): each.current_stage
        for each in tracker.client.search_model_versions("name='my_model'")
    }
    assert stages == {"1": "Archived", "2": "Production"}
    assert str(tracker.client.get_model_version_by_alias("my_model", "production").version) == "2"
    assert tracker.client.get_model_version("my_model", "2").run_id == run_id


def test_an_error_in_the_block_fails_the_run(tracker: MlflowTracker) -> None:
    def diverge() -> None:
        with tracker:
            run_ids.append(tracker.start_run())
            tracker.log_metrics({"loss": 0.25}, step=1)
            raise ZeroDivisionError

    run_ids: list[str] = []
    with pytest.raises(ZeroDivisionError):
        diverge()
    run = tracker.client.get_run(run_ids[0])
    assert run.info.status == "FAILED"
    assert run.data.metrics == {"loss": 0.25}


def test_network_without_an_example_is_logged_as_safetensors(tracker: MlflowTracker, tmp_path: Path) -> None:
    network = torch.nn.Linear(3, 2)
    with tracker:
        tracker.start_run()
        uri = tracker.log_model(network, "weights", config={"inputs": 3})
    folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path)))
    assert torch.equal(load_file(str(folder / "model.safetensors"))["weight"], network.weight)
    assert json.loads((folder / "config.json").read_text()) == {
        "class": "torch.nn.modules.linear:Linear",
        "config": {"inputs": 3},
    }
    assert tracker.register_model(uri, "weights-only") == "1"


def test_the_run_in_the_environment_is_continued_once(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tracker.start_run()
    tracker.log_params({"seed": 1})
    tracker.end_run("FAILED")
    monkeypatch.setenv("MLFLOW_RUN_ID", first)
    assert tracker.start_run() == first
    assert tracker.attempt == 2
    tracker.log_params({"seed": 1})
    with pytest.raises(TrackingRefusedError, match="seed"):
        tracker.log_params({"seed": 2})
    tracker.end_run()
    assert tracker.client.get_run(first).info.status == "FINISHED"
    assert tracker.start_run() != first
    tracker.end_run()


def test_calls_in_the_wrong_order_are_told(tracker: MlflowTracker) -> None:
    with pytest.raises(NoActiveRunError, match="call start_run"):
        tracker.log_metrics({"loss": 1.0})
    with tracker:
        tracker.start_run()
        with pytest.raises(TrackingRefusedError, match="still active"):
            tracker.start_run()
    with pytest.raises(TrackingRefusedError, match=r'no stage "Live"\. There is: None, Staging'):
        tracker.transition_model_stage("my_model", 1, "Live")


def test_metrics_survive_an_mlflow_that_goes_away_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory, mlflow_server: Any
) -> None:
    server = type(mlflow_server)(folder=tmp_path_factory.mktemp("flaky"), port=_other_port())
    try:
        server.start()
        tracker = MlflowTracker(server.uri, pace=Pace(interval=0.0))
        run_id = tracker.start_run()
        tracker.log_metrics({"loss": 0.0}, step=0)
        tracker.flush(SECONDS)
        server.stop()
        started = time.monotonic()
        for step in range(1, 200):
            tracker.log_metrics({"loss": float(step)}, step=step)
        assert time.monotonic() - started < 1.0
        server.start()
        tracker.end_run()
        history = tracker.client.get_metric_history(run_id, "loss")
        assert [point.step for point in history] == list(range(200))
        assert tracker.client.get_run(run_id).info.status == "FINISHED"
    finally:
        server.stop()


def _other_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
