"""One model from data to Production on this machine: what ``mlinfra demo`` does."""

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console

from mlinfra.cli.follow import Outcome, condition, follow
from mlinfra.cli.progress import ProgressDisplay
from mlinfra.cli.running import expected_errors, run
from mlinfra.cli.steps import Steps
from mlinfra.errors import MlinfraError
from mlinfra.kube.resource import TRAINING_JOBS
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.platform import Platform
from mlinfra.local.state import ClusterState
from mlinfra.resources import ModelVersion, TrainingJob

DATASET = "sp500"
NAMESPACE = "default"


def demonstrate(file: Path, state: ClusterState) -> bool:
    """Start the platform, write the features, apply the TrainingJob and follow it; whether it succeeded.

    Args:
        file: manifest of the TrainingJob.
        state: the cluster's state folder.
    """
    console = Console()
    with expected_errors():
        job_name = _name_in(file)
        platform = Platform(LocalCluster(state))

        async def play() -> Outcome:
            with platform.cluster.session("mlinfra demo") as session:
                steps = Steps(console)
                await platform.up(session, steps)
                with steps(f"features of {DATASET}"):
                    await asyncio.to_thread(_write_features, platform)
                with steps(f"kubectl apply -f {file}"):
                    await _apply_anew(platform, file, job_name)
                with steps("training and promotion"):
                    return await _follow(platform, job_name, console)

        outcome = run(play())
        _tell(platform, job_name, outcome, console)
        return outcome.succeeded


def _name_in(file: Path) -> str:
    try:
        manifest: dict[str, Any] = yaml.safe_load(file.read_text())
        return str(manifest["metadata"]["name"])
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise MlinfraError(
            f"{file} cannot be read as a TrainingJob ({error}); run this in a clone of the repository, or "
            "name a manifest with --file"
        ) from error


def _write_features(platform: Platform) -> None:
    from mlinfra.datasets import write_dataset
    from mlinfra.features import get_feature_store

    write_dataset(get_feature_store(platform.feature_store), DATASET)


async def _apply_anew(platform: Platform, file: Path, name: str) -> None:
    """Apply the manifest; one that has finished is deleted first, one that trains is followed."""
    async with platform.cluster.client() as client:
        found = await client.find(TRAINING_JOBS, name, NAMESPACE)
    if found is not None and _is_finished(TrainingJob.model_validate(found)):
        await asyncio.to_thread(kubectl, platform, "delete", "trainingjob.mlinfra.io", name, "--wait")
    await asyncio.to_thread(kubectl, platform, "apply", "-f", str(file))


def _is_finished(job: TrainingJob) -> bool:
    found = (condition(job.status.conditions, type_) for type_ in ("Complete", "Failed"))
    return any(item is not None and item.status == "True" for item in found)


async def _follow(platform: Platform, name: str, console: Console) -> Outcome:
    async with platform.cluster.client() as client:
        with ProgressDisplay(console, name) as display:
            return await follow(client, namespace=NAMESPACE, name=name, show=display.show)


def kubectl(platform: Platform, *arguments: str) -> str:
    """What kubectl prints.

    Raises:
        MlinfraError: it fails; the message is what it prints.
    """
    result = subprocess.run(
        [str(platform.cluster.program("kubectl")), "--namespace", NAMESPACE, *arguments],
        env=os.environ | {"KUBECONFIG": str(platform.cluster.kubeconfig)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise MlinfraError(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def _tell(platform: Platform, name: str, outcome: Outcome, console: Console) -> None:
    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    line("")
    line(kubectl(platform, "get", "trainingjobs.mlinfra.io,modelversions.mlinfra.io", "-o", "wide"))
    if outcome.model_version is not None:
        version = outcome.model_version
        line(f"{version.metadata.name}  {version.status.phase}")
        line(_accuracy(version, _test_period(platform, version)))
    if not outcome.succeeded:
        line(f"{name}: {outcome.message}")
        line(
            f"See: mlinfra kubectl -- describe trainingjob.mlinfra.io {name}; mlinfra kubectl logs job/{name}"
        )
    line(f"\nMLflow: {platform.mlflow_url}\n\nTry next:")
    line(f"  export KUBECONFIG={platform.cluster.kubeconfig}")
    line("  kubectl explain trainingjob.spec --recursive")
    line(f"  kubectl delete trainingjob {name} && kubectl apply -f examples/trainingjob.yaml")
    line("  make down    # stops all of it")


def _accuracy(version: ModelVersion, period: str | None) -> str:
    values = {metric.name: float(metric.value) for metric in version.status.metrics}
    accuracy, baseline = values.get("test_accuracy"), values.get("baseline_test_accuracy")
    if accuracy is None:
        return "no test accuracy was logged"
    beside = f"; always saying what is most frequent: {baseline:.1%}" if baseline is not None else ""
    tested = f" on {period}" if period else ""
    return f"test accuracy {accuracy:.1%}{tested}, after the training range{beside}"


def _test_period(platform: Platform, version: ModelVersion) -> str | None:
    """The dates tested on, as the run tells."""
    source = version.spec.source
    if source is None or source.run_id is None:
        return None
    answer = httpx.get(
        f"{platform.mlflow_url}/api/2.0/mlflow/runs/get", params={"run_id": source.run_id}, trust_env=False
    )
    answer.raise_for_status()
    tags = {tag["key"]: tag["value"] for tag in answer.json()["run"]["data"].get("tags", [])}
    return tags.get("test_period")
