"""``mlinfra tree`` on a real API server, whose own controllers make the pods."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from integration.operator.conftest import wait_for
from typer.testing import CliRunner

from mlinfra.cli.main import app
from mlinfra.kube import ClusterConfig, KubernetesClient
from mlinfra.kube.resource import (
    JOBS,
    MODEL_VERSIONS,
    NAMESPACES,
    PODS,
    RETRAINING_POLICIES,
    TRAINING_JOBS,
)
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.operator_access import install_custom_resources
from mlinfra.resources.names import RETRAINING_POLICY_LABEL

Object = dict[str, Any]
SPEC = {"modelName": "tides", "image": "registry.example/tides:1", "command": ["train"]}


def owned_by(owner: Object) -> list[Object]:
    metadata = owner["metadata"]
    reference = {"name": metadata["name"], "uid": metadata["uid"], "controller": True}
    return [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], **reference}]


@pytest.fixture
def namespace(cluster: LocalCluster) -> str:
    """A namespace with a policy's training, its Job and pod, and a version."""
    name = f"tree-{time.time_ns():x}"

    async def plant() -> None:
        async with KubernetesClient(ClusterConfig.from_kubeconfig(cluster.kubeconfig)) as kube:
            await install_custom_resources(kube)
            await planted(kube, name)

    asyncio.run(plant())
    return name


async def planted(kube: KubernetesClient, namespace: str) -> None:
    await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    ours = {"apiVersion": "mlinfra.io/v1alpha1"}
    policy = {"modelName": "tides", "trainingJobTemplate": {"spec": SPEC}}
    await kube.create(
        RETRAINING_POLICIES,
        ours | {"kind": "RetrainingPolicy", "metadata": {"name": "nightly"}, "spec": policy},
        namespace,
    )
    labels = {RETRAINING_POLICY_LABEL: "nightly"}
    training = await kube.create(
        TRAINING_JOBS,
        ours | {"kind": "TrainingJob", "metadata": {"name": "nightly-1", "labels": labels}, "spec": SPEC},
        namespace,
    )
    container = {"name": "trainer", "image": "none"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    await kube.create(
        JOBS,
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "nightly-1", "ownerReferences": owned_by(training)},
            "spec": {"template": template},
        },
        namespace,
    )
    version = {"modelName": "tides", "version": "1", "source": {"trainingJob": "nightly-1"}}
    await kube.create(
        MODEL_VERSIONS,
        ours | {"kind": "ModelVersion", "metadata": {"name": "tides-1"}, "spec": version},
        namespace,
    )

    async def unschedulable() -> bool:
        pods, _ = await kube.list(PODS, namespace)
        return any(
            (pod["status"].get("conditions") or [{}])[0].get("reason") == "Unschedulable" for pod in pods
        )

    await wait_for(unschedulable, "the scheduler says why the pod waits")


@pytest.fixture
def tree(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("KUBECONFIG", str(Path(cluster.kubeconfig)))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, ["tree", *arguments])


def test_a_policy_down_to_the_pod_that_waits(namespace: str, tree: Callable[..., Result]) -> None:
    shown = tree("nightly", "-n", namespace)
    assert shown.exit_code == 0, shown.output
    lines = [line.lstrip("│├└─ ").split()[0] for line in shown.output.splitlines()]
    assert lines[:4] == ["NAME", "RetrainingPolicy/nightly", "TrainingJob/nightly-1", "Job/nightly-1"]
    assert lines[4].startswith("Pod/nightly-1-")
    assert lines[5] == "ModelVersion/tides-1"
    assert "Unschedulable" in shown.output


def test_a_part_of_it_as_json(namespace: str, tree: Callable[..., Result]) -> None:
    shown = tree("trainingjob/nightly-1", "-n", namespace, "-o", "json")
    found = json.loads(shown.output)
    assert (found["kind"], found["name"]) == ("TrainingJob", "nightly-1")
    [job, version] = found["children"]
    assert job["children"][0]["reason"] == "Unschedulable"
    assert version["name"] == "tides-1"


def test_what_is_not_there_is_told(namespace: str, tree: Callable[..., Result]) -> None:
    unknown = tree("nobody", "-n", namespace)
    assert unknown.exit_code == 1
    assert "there is no RetrainingPolicy, TrainingJob or ModelVersion nobody" in unknown.output
    assert tree("modelversion/nightly", "-n", namespace).exit_code == 1
    foreign = tree("pod/nightly", "-n", namespace)
    assert foreign.exit_code == 2
    assert "retrainingpolicy/NAME or trainingjob/NAME or modelversion/NAME" in foreign.output
    empty = tree("-n", "kube-public")
    assert empty.output == "Nothing of mlinfra in namespace kube-public.\n"
