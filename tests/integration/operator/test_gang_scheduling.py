"""Pods that start together or not at all, by the real scheduler; and what is told where there is no such."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.conftest import quietly
from integration.operator.conftest import Cluster, OperatorProcess, operator_access
from integration.operator.manifests import condition, training_job

from mlinfra.kube.resource import JOBS, POD_GROUPS, PODS, TRAINING_JOBS
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.simulated_nodes import SimulatedNode, add_nodes, start_kwok
from mlinfra.local.state import ClusterState
from mlinfra.resources.names import TRAINING_JOB_LABEL

GPU = "nvidia.com/gpu"
NODES = [SimulatedNode(f"gpu-{number}", capacity={GPU: "4"}) for number in range(2)]


@pytest.fixture(scope="module")
def gang_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A control plane with the alpha API, and two nodes with four GPUs each."""
    cluster = LocalCluster(
        ClusterState(tmp_path_factory.mktemp("clusters"), "gang"),
        durable=False,
        with_node=False,
        gang_scheduling=True,
    )

    async def start() -> None:
        with cluster.session("pytest") as session:
            await cluster.up(session, quietly)
        await start_kwok(cluster, lambda text: None)
        async with cluster.client() as client:
            await add_nodes(client, NODES)

    try:
        asyncio.run(start())
        yield cluster
    finally:
        cluster.down(delete=True)


@pytest.fixture(scope="module")
def gang_kubeconfig(gang_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return operator_access(gang_cluster, tmp_path_factory.mktemp("access"))


@pytest.fixture
async def gang_world(
    gang_cluster: LocalCluster, gang_kubeconfig: Path, mlflow_server: Any, tmp_path: Path
) -> AsyncIterator[Cluster]:
    """The default namespace of that cluster, with an operator."""
    log = tmp_path / "operator.log"
    operator = OperatorProcess(gang_kubeconfig, mlflow_server.uri, "default", log, identity="gang")
    log.touch()
    operator.start()
    try:
        await operator.ready()
        async with gang_cluster.client() as client:
            yield Cluster(client, "default")
    finally:
        operator.kill()


def gang(name: str, nodes: int) -> dict[str, Any]:
    limits = {GPU: "4"}
    return training_job(name, numNodes=nodes, gangScheduling=True, resourcesPerNode={"limits": limits})


async def bound(world: Cluster, name: str) -> int:
    pods, _ = await world.kube.list(PODS, world.namespace, label_selector=f"{TRAINING_JOB_LABEL}={name}")
    return sum("nodeName" in pod["spec"] for pod in pods)


async def test_a_gang_that_is_too_large_leaves_its_gpus_to_one_that_fits(
    gang_world, unique, eventually
) -> None:
    large, small = f"{unique}-large", f"{unique}-small"
    await gang_world.apply(gang(large, 3))

    async def says_why() -> bool:
        found = await gang_world.training_job(large)
        return bool(found.get("status") and condition(found, "Ready")["reason"] == "Unschedulable")

    await eventually(says_why, "the large gang says that it waits")
    assert await bound(gang_world, large) == 0
    await gang_world.apply(gang(small, 2))
    running = await gang_world.phase(small, "Running")
    assert condition(running, "GangScheduling")["status"] == "True"
    assert await bound(gang_world, small) == 2

    await gang_world.kube.delete(TRAINING_JOBS, small, "default")

    async def group_is_gone() -> bool:
        groups, _ = await gang_world.kube.list(POD_GROUPS, "default")
        return len(groups) == 1

    await eventually(group_is_gone, "the small gang's PodGroup goes with its TrainingJob")


async def test_where_there_are_no_gangs_the_training_starts_and_says_so(
    world, operator, unique, eventually
) -> None:
    await world.apply(gang(unique, 2))
    pending = await world.phase(unique, "Pending")
    told = condition(pending, "GangScheduling")
    assert (told["status"], told["reason"]) == ("False", "GangUnavailable")
    job = await world.kube.get(JOBS, unique, world.namespace)
    assert "schedulingGroup" not in job["spec"]["template"]["spec"]

    async def event_posted() -> bool:
        return "GangUnavailable" in [event["reason"] for event in await world.events(unique)]

    await eventually(event_posted, "an Event tells of it")
