"""Drives one private platform as a person does: by the command line and kubectl."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

T = TypeVar("T")
Object = dict[str, Any]

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "trainingjob.yaml"
GROUP = "sp500_daily"


def training_job(name: str, *, model_name: str | None = None, **spec: Any) -> Object:
    """A TrainingJob that is quick: two epochs on a few years of the S&P 500."""
    return {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "modelName": model_name or name,
            "model": {"architecture": "hybrid_cnn_lstm"},
            "data": data(),
            "training": {"epochs": 2},
            "validation": {"embargo": 5},
            "backoffLimit": 0,
        }
        | spec,
    }


def data(**changes: Any) -> Object:
    """Where a quick training's rows come from."""
    return {
        "featureGroup": GROUP,
        "label": "turbulent",
        "startDate": "2006-01-01",
        "endDate": "2012-12-31",
        "windowLength": 10,
    } | changes


@dataclass(frozen=True)
class Platform:
    """The commands of one private platform."""

    state: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "MLINFRA_STATE_DIR": str(self.state), "NO_COLOR": "1", "COLUMNS": "200"}

    @property
    def feature_store(self) -> Path:
        return self.state / "default" / "feature_store"

    @property
    def mlflow_url(self) -> str:
        port = json.loads((self.state / "default" / "mlflow" / "server.json").read_text())["port"]
        return f"http://127.0.0.1:{port}"

    def mlinfra(self, *arguments: str) -> str:
        result = self.run(*arguments)
        if result.returncode != 0:
            pytest.fail(f"mlinfra {arguments}: exit {result.returncode}\n{result.stdout}{result.stderr}")
        return result.stdout

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "mlinfra"), *arguments],
            env=self.environment,
            cwd=REPOSITORY,
            input=stdin,
            capture_output=True,
            text=True,
        )

    def mlinfra_in_cluster(self, *arguments: str) -> str:
        """A command that speaks to the cluster as kubectl does, by KUBECONFIG."""
        kubeconfig = self.mlinfra("kubeconfig").strip()
        result = subprocess.run(
            [str(BIN / "mlinfra"), *arguments],
            env=self.environment | {"KUBECONFIG": kubeconfig},
            capture_output=True,
            text=True,
        )
        if result.returncode != 0:
            pytest.fail(f"mlinfra {arguments}: exit {result.returncode}\n{result.stdout}{result.stderr}")
        return result.stdout

    def pid(self, component: str) -> int:
        record = json.loads((self.state / "default" / "run" / f"{component}.json").read_text())
        return int(record["pid"])

    def kill(self, component: str) -> None:
        """End a component at once, with the workers it started: it leads a session of its own."""
        os.killpg(self.pid(component), signal.SIGKILL)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        result = self.run("kubectl", "--", *arguments, stdin=stdin)
        if result.returncode != 0:
            pytest.fail(f"kubectl {arguments}: {result.stdout}{result.stderr}")
        return result.stdout

    def refused(self, manifest: Mapping[str, Any]) -> str:
        """What kubectl prints when the API server refuses a manifest."""
        result = self.run("kubectl", "--", "apply", "-f", "-", stdin=json.dumps(manifest))
        assert result.returncode != 0, f"it was not refused: {result.stdout}"
        return result.stderr

    def apply(self, manifest: Mapping[str, Any]) -> str:
        return self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def get(self, *arguments: str) -> Object:
        found: Object = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def wait_for_end(self, name: str, *, seconds: float = 180) -> Object:
        """The TrainingJob once it is Complete or Failed."""

        def ended() -> Object | None:
            job = self.get("trainingjob", name)
            return job if condition(job, "Complete") or condition(job, "Failed") else None

        return eventually(ended, seconds=seconds, what=f"end of TrainingJob {name}")

    def wait_for_phase(self, version: str, phase: str) -> Object:
        """The ModelVersion once it has a phase."""

        def settled() -> Object | None:
            found = self.get("modelversions", "--field-selector", f"metadata.name={version}")["items"]
            return found[0] if found and found[0].get("status", {}).get("phase") == phase else None

        return eventually(settled, seconds=30, what=f"ModelVersion {version} in phase {phase}")


def condition(obj: Object, type_: str) -> Object | None:
    """A condition that is True, or None."""
    conditions = obj.get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == type_ and item["status"] == "True"), None)


def metrics(obj: Object) -> dict[str, float]:
    """The metrics in a ModelVersion's status."""
    return {item["name"]: float(item["value"]) for item in obj["status"]["metrics"]}


def example() -> Object:
    """The manifest that `make demo` applies."""
    manifest: Object = yaml.safe_load(EXAMPLE.read_text())
    return manifest


def eventually(observe: Callable[[], T | None], *, seconds: float, what: str) -> T:
    """The first observation that is not None, or a failure that says what never came."""
    deadline = time.monotonic() + seconds
    while True:
        observed = observe()
        if observed is not None:
            return observed
        if time.monotonic() > deadline:
            pytest.fail(f"within {seconds:.0f} s there was no {what}")
        time.sleep(0.25)
