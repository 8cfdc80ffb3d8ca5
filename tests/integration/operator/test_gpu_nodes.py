"""GPU pods on simulated nodes: where they run, what they wait for, and what a disruption costs."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from integration.operator.manifests import condition, training_job

from mlinfra.kube.resource import JOBS, PODS, TRAINING_JOBS, ResourceType
from mlinfra.kube.resource import NODES as NODE
from mlinfra.local.simulated_nodes import SimulatedNode, add_nodes, remove_nodes, start_kwok
from mlinfra.resources.names import TRAINING_JOB_LABEL

Object = dict[str, Any]
PRIORITY_CLASSES = ResourceType(
    "scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False
)
RUNTIME_CLASSES = ResourceType("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", namespaced=False)
GPU = "nvidia.com/gpu"
TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}


@pytest.fixture
async def gpu_nodes(cluster: Any, kube: Any, unique: str) -> AsyncIterator[list[SimulatedNode]]:
    """Two nodes with four GPUs each; their taint keeps the pods of other tests away."""
    nodes = [
        SimulatedNode(f"{unique}-{number}", capacity={GPU: "4"}, labels={"pool": unique}, taints=[TAINT])
        for number in range(2)
    ]
    await start_kwok(cluster, lambda text: None)
    await add_nodes(kube, nodes)
    yield nodes
    await remove_nodes(kube, nodes)


def gpu_job(name: str, gpus: int, nodes: list[SimulatedNode], **spec: Any) -> Object:
    return training_job(
        name,
        resourcesPerNode={"limits": {GPU: str(gpus), "cpu": "4"}},
        nodeSelector={"pool": nodes[0].labels["pool"]},
        tolerations=[{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}],
        **spec,
    )


async def pods_of(world: Any, name: str) -> list[Object]:
    pods, _ = await world.kube.list(PODS, world.namespace, label_selector=f"{TRAINING_JOB_LABEL}={name}")
    return [pod for pod in pods if pod["status"]["phase"] == "Running"]


async def runs_on(
    world: Any, eventually: Any, name: str, *, nodes: int, other_than: str = ""
) -> list[Object]:
    """The pods, once all of them run."""

    async def all_run() -> list[Object] | None:
        running = [pod for pod in await pods_of(world, name) if pod["metadata"]["uid"] != other_than]
        return running if len(running) == nodes else None

    found: list[Object] = await eventually(all_run, f"{nodes} pods of {name} run", seconds=90)
    return found


async def test_gpu_pods_run_where_the_gpus_are_and_wait_where_there_are_too_few(
    world, operator, gpu_nodes, unique, eventually
) -> None:
    large, small = f"{unique}-large", f"{unique}-small"
    await world.apply(gpu_job(large, 4, gpu_nodes, numNodes=2))
    pods = await runs_on(world, eventually, large, nodes=2)
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == [node.name for node in gpu_nodes]
    running = await world.phase(large, "Running")
    assert running["status"]["gpus"] == 8

    await world.apply(gpu_job(small, 1, gpu_nodes))

    async def says_why() -> Object | None:
        job: Object = await world.training_job(small)
        return job if job.get("status") and condition(job, "Ready")["reason"] == "Unschedulable" else None

    pending = await eventually(says_why, "the TrainingJob says what it waits for")
    assert pending["status"]["phase"] == "Pending"
    assert f"Insufficient {GPU}" in condition(pending, "Ready")["message"]

    async def event_posted() -> bool:
        return "Unschedulable" in [event["reason"] for event in await world.events(small)]

    await eventually(event_posted, "an Event tells of it")
    await world.kube.delete(TRAINING_JOBS, large, world.namespace)
    await runs_on(world, eventually, small, nodes=1)
    assert (await world.phase(small, "Running"))["status"]["gpus"] == 1


@pytest.mark.parametrize("loss", ["the pod is evicted", "the node is tainted", "the node is lost"])
async def test_a_disruption_costs_no_retry_and_the_training_goes_on_elsewhere(
    world, operator, gpu_nodes, unique, eventually, loss
) -> None:
    await world.apply(gpu_job(unique, 4, gpu_nodes, backoffLimit=0))
    (pod,) = await runs_on(world, eventually, unique, nodes=1)
    await world.phase(unique, "Running")
    name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    match loss:
        case "the pod is evicted":
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
            await world.kube.create(PODS, eviction, world.namespace, name=name, subresource="eviction")
        case "the node is tainted":
            gone = {"key": "spot-is-over", "effect": "NoExecute"}
            await world.kube.merge_patch(NODE, node, {"spec": {"taints": [TAINT, gone]}})
        case _:
            await remove_nodes(world.kube, [next(found for found in gpu_nodes if found.name == node)])
    # A node that is gone is noticed by the pod garbage collector, which looks every 20 s after 40 s.
    (other,) = await runs_on(world, eventually, unique, nodes=1, other_than=pod["metadata"]["uid"])
    if loss != "the pod is evicted":
        assert other["spec"]["nodeName"] != node
    child = await world.kube.get(JOBS, unique, world.namespace)
    assert child["status"].get("failed", 0) == 0

    async def next_attempt() -> bool:
        return bool((await world.training_job(unique))["status"]["attempts"] == 2)

    await eventually(next_attempt, "the second attempt is counted")
    assert (await world.training_job(unique))["status"]["phase"] == "Running"


@pytest.fixture
async def urgent_class(kube: Any, unique: str) -> AsyncIterator[str]:
    """A PriorityClass above the default, and a RuntimeClass, both of this name."""
    named = {"metadata": {"name": unique}}
    manifests = {
        PRIORITY_CLASSES: {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000},
        RUNTIME_CLASSES: {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "nvidia"},
    }
    for type_, manifest in manifests.items():
        await kube.create(type_, manifest | named)
    yield unique
    for type_ in manifests:
        await kube.delete(type_, unique)


async def test_a_preemption_by_a_higher_priority_costs_no_retry(
    world, operator, gpu_nodes, unique, eventually, urgent_class
) -> None:
    usual, urgent = f"{unique}-usual", f"{unique}-urgent"
    await world.apply(gpu_job(usual, 4, gpu_nodes, backoffLimit=0))
    (preempted,) = await runs_on(world, eventually, usual, nodes=1)
    await world.phase(usual, "Running")
    classes = {"priorityClassName": urgent_class, "runtimeClassName": urgent_class}
    await world.apply(gpu_job(urgent, 4, gpu_nodes, numNodes=2, **classes))
    for pod in await runs_on(world, eventually, urgent, nodes=2):
        assert pod["spec"]["priority"] == 1000
        assert {name: pod["spec"][name] for name in classes} == classes
    await world.kube.delete(TRAINING_JOBS, urgent, world.namespace)
    await runs_on(world, eventually, usual, nodes=1, other_than=preempted["metadata"]["uid"])

    async def next_attempt() -> bool:
        return bool((await world.training_job(usual))["status"]["attempts"] == 2)

    await eventually(next_attempt, "the second attempt is counted")
    child = await world.kube.get(JOBS, usual, world.namespace)
    assert child["status"].get("failed", 0) == 0
