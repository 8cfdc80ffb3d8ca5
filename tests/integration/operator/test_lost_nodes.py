"""A kubelet that falls silent while its Node object stays: what is told, and what sets the training free."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from integration.operator.manifests import condition, training_job

from mlinfra.kube.resource import NODES, PODS, TRAINING_JOBS

Object = dict[str, Any]
ELSEWHERE = {"key": "lost", "value": "true", "effect": "NoSchedule"}
OUT_OF_SERVICE = {
    "key": "node.kubernetes.io/out-of-service",
    "value": "nodeshutdown",
    "effect": "NoExecute",
}


@pytest.fixture
async def silent_node(kube: Any, unique: str) -> AsyncIterator[str]:
    """A Node without a kubelet; its taint keeps the pods of other tests away."""
    name = f"{unique}-silent"
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"taints": [ELSEWHERE]}}
    await kube.create(NODES, node)
    yield name
    await kube.delete(NODES, name)


async def runs_there(world: Any, name: str, node: str) -> str:
    """The pod of a training runs on the node; its name."""
    pod: str = (await world.pod(name))["metadata"]["name"]
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }
    await world.kube.create(PODS, binding, world.namespace, name=pod, subresource="binding")
    await world.run_pod(name)
    await world.phase(name, "Running")
    return pod


async def lost(world: Any, eventually: Any, name: str, pod: str, node: str) -> Object:
    """The TrainingJob, once it names pod and node that hold it up."""

    async def told() -> Object | None:
        job: Object = await world.training_job(name)
        return job if condition(job, "Ready")["reason"] == "PodTerminating" else None

    found: Object = await eventually(told, "the TrainingJob says what does not end", seconds=90)
    message = condition(found, "Ready")["message"]
    assert f"pod {pod} had to end by" in message
    assert f"kubectl delete node {node}" in message
    assert found["status"]["phase"] == "Running"
    return found


async def test_a_training_on_a_silent_node_says_so_and_goes_on_once_the_node_is_given_up(
    world, operator, silent_node, unique, eventually
) -> None:
    await world.apply(training_job(unique))
    pod = await runs_there(world, unique, silent_node)
    # As Kubernetes does five minutes after the kubelet fell silent.
    await world.kube.delete(PODS, pod, world.namespace, grace_period_seconds=1)
    await lost(world, eventually, unique, pod, silent_node)
    job = await world.job(unique)
    assert job["status"].get("active", 0) == 0
    assert job["status"]["terminating"] == 1

    taints = {"spec": {"taints": [ELSEWHERE, OUT_OF_SERVICE]}}
    await world.kube.merge_patch(NODES, silent_node, taints)

    async def gone() -> bool:
        return await world.kube.find(PODS, pod, world.namespace) is None

    await eventually(gone, "the lost pod is given up", seconds=90)
    await world.run_pod(unique)

    async def trains() -> bool:
        return condition(await world.training_job(unique), "Ready")["reason"] == "Training"

    await eventually(trains, "another pod trains")
    # It cost no retry: of those the training has none.
    assert (await world.training_job(unique))["status"]["phase"] == "Running"


async def test_a_suspension_on_a_silent_node_says_what_it_waits_for(
    world, operator, silent_node, unique, eventually
) -> None:
    await world.apply(training_job(unique))
    pod = await runs_there(world, unique, silent_node)
    patch = {"spec": {"suspend": True}}
    await world.kube.merge_patch(TRAINING_JOBS, unique, patch, world.namespace)

    async def ending() -> bool:
        return "deletionTimestamp" in (await world.kube.get(PODS, pod, world.namespace))["metadata"]

    await eventually(ending, "the pod is asked to end")
    await world.kube.delete(PODS, pod, world.namespace, grace_period_seconds=1)
    await lost(world, eventually, unique, pod, silent_node)
    await world.kube.delete(PODS, pod, world.namespace, grace_period_seconds=0)
    await world.phase(unique, "Suspended")
