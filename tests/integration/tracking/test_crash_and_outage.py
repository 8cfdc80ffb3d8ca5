"""What was handed over reaches MLflow: after kill -9, after a forgotten end, after an outage at the end."""

import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.mlflow_server import MlflowServer
from typer.testing import CliRunner

from mlinfra.cli.main import app
from mlinfra.tracking.errors import TrackingUnavailableError
from mlinfra.tracking.spool import FOLDER
from mlinfra.tracking.tracker import MlflowTracker
from mlinfra.tracking.writer import Pace

POINTS = 2_000
NEVER = Pace(interval=3600.0)


@pytest.fixture
def server(mlflow_server: MlflowServer) -> Iterator[MlflowServer]:
    """The tests' server, which runs again however a test leaves it."""
    yield mlflow_server
    if mlflow_server.process is None:
        mlflow_server.start()


@pytest.fixture(autouse=True)
def spools(tmp_path: Path, server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLINFRA_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return tmp_path / FOLDER


def script(ending: str) -> "subprocess.Popen[str]":
    """A process that starts a run, logs points of which most are not sent, and ends as told."""
    program = f"""
import os, signal
from mlinfra.tracking.tracker import MlflowTracker
from mlinfra.tracking.writer import Pace
tracker = MlflowTracker(pace=Pace(interval=3600.0))
print(tracker.start_run("script"), flush=True)
tracker.log_metrics({{"loss": -1.0}}, step=-1)
tracker.flush()
for step in range({POINTS}):
    tracker.log_metrics({{"loss": float(step)}}, step=step)
tracker.set_tags({{"last": {POINTS}}})
{ending}
"""
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def run_script(ending: str) -> tuple[str, int]:
    process = script(ending)
    output, _ = process.communicate(timeout=120)
    return output.strip(), process.returncode


def steps(tracker: MlflowTracker, run_id: str) -> list[int]:
    return sorted(point.step for point in tracker.client.get_metric_history(run_id, "loss"))


def test_kill_9_loses_nothing_and_a_replay_doubles_nothing(spools: Path) -> None:
    run_id, code = run_script("os.kill(os.getpid(), signal.SIGKILL)")
    assert code == -signal.SIGKILL
    (left,) = spools.iterdir()
    shutil.copytree(left, spools / "again")

    tracker = MlflowTracker()
    before = steps(tracker, run_id)
    assert len(before) < POINTS
    tracker.start_run(run_id=run_id)
    assert steps(tracker, run_id) == list(range(-1, POINTS))
    assert tracker.client.get_run(run_id).data.tags["last"] == str(POINTS)
    tracker.end_run()
    assert list(spools.iterdir()) == []


def test_sync_brings_it_without_a_run_and_twice_changes_nothing(spools: Path) -> None:
    run_id, _ = run_script("os.kill(os.getpid(), signal.SIGKILL)")
    (left,) = spools.iterdir()
    shutil.copytree(left, spools / "again")
    result = CliRunner().invoke(app, ["runs", "sync"])
    assert result.exit_code == 0, result.output
    assert result.output.count(f"run {run_id}: ") == 2
    tracker = MlflowTracker()
    assert steps(tracker, run_id) == list(range(-1, POINTS))
    assert tracker.client.get_run(run_id).data.metrics["loss"] == POINTS - 1
    assert "Nothing waits" in CliRunner().invoke(app, ["runs", "sync"]).output


@pytest.mark.parametrize(("ending", "status", "code"), [("", "FINISHED", 0), ("1 / 0", "FAILED", 1)])
def test_a_script_that_does_not_end_its_run_ends_it_all_the_same(
    spools: Path, ending: str, status: str, code: int
) -> None:
    run_id, returned = run_script(ending)
    assert returned == code
    tracker = MlflowTracker()
    assert tracker.client.get_run(run_id).info.status == status
    assert steps(tracker, run_id) == list(range(-1, POINTS))
    assert list(spools.iterdir()) == []


def test_an_outage_at_the_end_keeps_data_and_status_for_sync(spools: Path, server: MlflowServer) -> None:
    tracker = MlflowTracker(patience=1.0)
    run_id = tracker.start_run("outage")
    tracker.flush(60)
    server.stop()
    try:
        # More than memory holds.
        for step in range(30_000):
            tracker.log_metrics({"loss": float(step)}, step=step)
        with pytest.raises(TrackingUnavailableError, match="mlinfra runs sync"):
            tracker.end_run()
    finally:
        server.start()
    assert [each.name.partition("-")[0] for each in spools.iterdir()] == [run_id]
    assert tracker.client.get_run(run_id).info.status == "RUNNING"
    result = CliRunner().invoke(app, ["runs", "sync"])
    assert "30000 metrics written" in result.output, result.output
    assert tracker.client.get_run(run_id).info.status == "FINISHED"
    assert tracker.client.get_run(run_id).data.metrics["loss"] == 29_999


def test_a_run_that_is_gone_is_told_and_kept(spools: Path) -> None:
    tracker = MlflowTracker(pace=NEVER)
    run_id = tracker.start_run("gone")
    tracker.log_metrics({"loss": 1.0}, step=1)
    tracker.flush(60)
    tracker.log_metrics({"loss": 2.0}, step=2)
    (folder,) = spools.iterdir()
    copied = spools / "copied"
    shutil.copytree(folder, copied)
    tracker.end_run()
    tracker.client.delete_run(run_id)
    result = CliRunner().invoke(app, ["runs", "sync"])
    assert result.exit_code == 1
    assert f"It stays in {copied}" in result.output
    # A new run starts all the same.
    with MlflowTracker() as other:
        other.start_run("other")
    assert copied.is_dir()


def test_values_of_every_kind_arrive() -> None:
    tracker = MlflowTracker()
    with tracker:
        run_id = tracker.start_run("values")
        tracker.log_metrics({"nan": math.nan, "inf": math.inf, "minus": -math.inf, "a/b c:d.e-f": 1})
        tracker.log_metrics({})
        tracker.log_params({"long": "x" * 7000, "nested": {"rate": 0.5}, **{f"p{i}": i for i in range(250)}})
        tracker.log_params({})
    data = tracker.client.get_run(run_id).data
    assert math.isnan(data.metrics["nan"])
    assert data.metrics["inf"] == sys.float_info.max
    assert data.metrics["minus"] == -sys.float_info.max
    assert data.metrics["a/b c:d.e-f"] == 1.0
    assert len(data.params["long"]) == 6000
    assert data.params["nested.rate"] == "0.5"
    assert len(data.params) == 252
    folder = tracker.client.download_artifacts(run_id, "params/long.txt")
    assert Path(folder).read_text() == "x" * 7000


def test_a_forked_process_leaves_the_run_alone() -> None:
    run_id, code = run_script("""
import sys
if os.fork() == 0:
    sys.exit(0)
os.wait()
tracker.log_metrics({"loss": 1.5}, step=-2)
""")
    assert code == 0
    tracker = MlflowTracker()
    assert tracker.client.get_run(run_id).info.status == "FINISHED"
    assert steps(tracker, run_id) == list(range(-2, POINTS))
