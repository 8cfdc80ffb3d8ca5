"""``mlinfra logs`` of pods on the local node: followed over a retry, by attempt, and when they are gone."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.operator.conftest import wait_for

from mlinfra.kube import KubernetesClient
from mlinfra.kube.resource import JOBS, PODS, TRAINING_JOBS
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.operator_access import install_custom_resources
from mlinfra.resources.names import TRAINING_JOB_UID_LABEL

Object = dict[str, Any]
Process = subprocess.Popen[str]
NAMESPACE = "default"
NAME = "tides"
RUN = {"runID": "0123abcd", "experimentID": "1"}
TRAINER = """
import pathlib, sys
marker = pathlib.Path(sys.argv[1])
first = not marker.exists()
marker.touch()
print("first" if first else "second", flush=True)
sys.exit(1 if first else 0)
"""


async def plant(kube: KubernetesClient, marker: Path) -> None:
    """A TrainingJob and, in the operator's place, its Job, whose first pod fails."""
    await install_custom_resources(kube)
    training = await kube.create(
        TRAINING_JOBS,
        {
            "apiVersion": "mlinfra.io/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": NAME},
            "spec": {"modelName": "tides", "command": ["train"]},
        },
        NAMESPACE,
    )
    labels = {TRAINING_JOB_UID_LABEL: training["metadata"]["uid"]}
    command = [sys.executable, "-c", TRAINER, str(marker)]
    containers = [{"name": "trainer", "image": "none", "command": command}]
    spec = {"restartPolicy": "Never", "containers": containers}
    await kube.create(
        JOBS,
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": NAME},
            "spec": {"backoffLimit": 3, "template": {"metadata": {"labels": labels}, "spec": spec}},
        },
        NAMESPACE,
    )


async def finish(kube: KubernetesClient) -> None:
    """Say in the operator's place that the training has ended, once its Job has."""

    async def complete() -> bool:
        job = await kube.get(JOBS, NAME, NAMESPACE)
        return bool((job.get("status") or {}).get("succeeded"))

    await wait_for(complete, "the Job is complete", seconds=60)
    status = {"phase": "Succeeded", "attempts": 2, "mlflow": RUN}
    await kube.merge_patch(TRAINING_JOBS, NAME, {"status": status}, NAMESPACE, subresource="status")


async def remove_pods(kube: KubernetesClient) -> None:
    await kube.delete(JOBS, NAME, NAMESPACE)

    async def gone() -> bool:
        return not (await kube.list(PODS, NAMESPACE))[0]

    await wait_for(gone, "the pods are gone")


@pytest.fixture
def on_node(node_cluster: LocalCluster) -> Callable[..., None]:
    def run(question: Callable[..., Any], *arguments: object) -> None:
        async def ask() -> None:
            async with node_cluster.client() as kube:
                await question(kube, *arguments)

        asyncio.run(ask())

    return run


@pytest.fixture
def logs(node_cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Process]:
    """Starts the command."""
    monkeypatch.setenv("KUBECONFIG", str(node_cluster.kubeconfig))
    command = [sys.executable, "-c", "from mlinfra.cli.main import app; app()", "logs", NAME, "-n", NAMESPACE]
    return lambda *arguments: subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: Process) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    try:
        output, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return process.returncode, output, told


def test_logs_of_a_training_that_is_retried(
    on_node: Callable[..., None], logs: Callable[..., Process], tmp_path: Path
) -> None:
    on_node(plant, tmp_path / "marker")
    following = logs("-f")
    try:
        on_node(finish)
    except BaseException:
        following.kill()
        raise
    code, output, told = ended(following)
    assert code == 0, told
    assert output.split()[-1] == "second"
    assert ended(logs())[:2] == (0, "second\n")
    assert ended(logs("--attempt", "1"))[:2] == (0, "first\n")
    assert ended(logs("--attempt", "1", "-f"))[:2] == (0, "first\n")
    assert ended(logs("--node", "1"))[0] == 2
    on_node(remove_pods)
    for arguments in ((), ("-f",)):
        code, output, told = ended(logs(*arguments))
        assert (code, output) == (1, "")
        assert "the pods of TrainingJob tides are gone" in told
        assert "MLflow run 0123abcd" in told
