"""The API server and etcd are killed, and history is compacted away: all goes on, nothing is done twice."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.conftest import quietly
from integration.operator.conftest import Cluster, OperatorProcess, operator_access
from integration.operator.manifests import gated, training_job
from mlflow import MlflowClient

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.resource import JOBS, TRAINING_JOBS
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.network import is_free
from mlinfra.local.state import ClusterState

GONE = 410


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A control plane that these tests may kill."""
    cluster = LocalCluster(
        ClusterState(tmp_path_factory.mktemp("clusters"), "killed"), durable=False, with_node=False
    )
    try:
        asyncio.run(up(cluster))
        yield cluster
    finally:
        cluster.down(delete=True)


async def up(cluster: LocalCluster) -> None:
    """Start what does not run."""
    with cluster.session("pytest") as session:
        await cluster.up(session, quietly)


@pytest.fixture(scope="module")
def own_kubeconfig(own_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return operator_access(own_cluster, tmp_path_factory.mktemp("access"))


@pytest.fixture
async def own_operator(
    own_kubeconfig: Path, mlflow_server: Any, tmp_path: Path
) -> AsyncIterator[OperatorProcess]:
    log = tmp_path / "operator.log"
    log.touch()
    operator = OperatorProcess(own_kubeconfig, mlflow_server.uri, "default", log, identity="killed")
    operator.start()
    try:
        await operator.ready()
        yield operator
    finally:
        operator.kill()


@pytest.fixture
async def own_world(own_cluster: LocalCluster, own_operator: OperatorProcess) -> AsyncIterator[Cluster]:
    async with own_cluster.client() as client:
        yield Cluster(client, "default")


async def killed(cluster: LocalCluster, *names: str) -> None:
    """The processes of these names end at once, and start again."""
    ended = [status for status in cluster.statuses() if status.name in names]
    for status in ended:
        os.kill(status.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        # The last thread of a process lets go of its port.
        while not all(is_free(int(status.address.rpartition(":")[2])) for status in ended):
            await asyncio.sleep(0.01)
    await up(cluster)


async def answers(client: KubernetesClient) -> bool:
    try:
        await client.list(JOBS, "default")
    except (ApiError, httpx.HTTPError, OSError):
        return False
    return True


async def jobs_of(world: Cluster, name: str) -> int:
    jobs, _ = await world.kube.list(JOBS, world.namespace)
    return sum(job["metadata"]["name"].startswith(name) for job in jobs)


@pytest.mark.parametrize("names", [("kube-apiserver",), ("etcd", "kube-apiserver")])
async def test_a_control_plane_that_is_killed_loses_and_doubles_nothing(
    names, own_cluster, own_world, own_operator, tracking: MlflowClient, unique, eventually
) -> None:
    before, after = f"{unique}-before", f"{unique}-after"
    await own_world.apply(training_job(before, modelName=unique, **gated(0.8)))
    await own_world.phase(before, "Pending")
    run_id = await own_world.run_id(before)
    await killed(own_cluster, *names)
    await eventually(lambda: answers(own_world.kube), "the API server answers", seconds=60)
    assert await own_world.train(tracking, before, 0.9) == run_id
    await own_world.phase(before, "Succeeded")
    await own_world.version_phase(f"{unique}-1", "Production")
    await own_world.apply(training_job(after, modelName=unique, **gated(0.8)))
    await own_world.train(tracking, after, 0.95)
    await own_world.version_phase(f"{unique}-2", "Production")
    assert (await jobs_of(own_world, before), await jobs_of(own_world, after)) == (1, 1)
    assert len(tracking.search_model_versions(f"name='{unique}'")) == 2
    assert own_operator.process is not None
    assert own_operator.process.poll() is None


async def test_history_that_was_compacted_away_is_read_anew(
    own_cluster, own_world, own_operator, tracking: MlflowClient, unique, eventually
) -> None:
    await own_world.apply(training_job(unique, **gated(0.8)))
    await own_world.phase(unique, "Pending")
    assert own_operator.process is not None
    own_operator.process.send_signal(signal.SIGSTOP)
    _, known = await own_world.kube.list(TRAINING_JOBS, own_world.namespace)
    late = f"{unique}-late"
    await own_world.apply(training_job(late))
    await own_world.kube.delete(TRAINING_JOBS, unique, own_world.namespace)
    await compact(own_cluster)
    # Its own memory of events ends with it: what the operator asks to go on from is gone.
    await killed(own_cluster, "kube-apiserver")

    async def is_gone() -> bool:
        try:
            await anext(own_world.kube.watch(TRAINING_JOBS, own_world.namespace, resource_version=known))
        except ApiError as error:
            # Right after its start the API server asks to come back later.
            return error.status == GONE
        return False

    await eventually(is_gone, "the events since then are gone")
    own_operator.process.send_signal(signal.SIGCONT)
    await own_world.train(tracking, late, 0.9)
    await own_world.phase(late, "Succeeded")


async def compact(cluster: LocalCluster) -> None:
    """Forget all revisions of etcd but the newest."""
    pki = cluster.state.pki
    trust = ssl.create_default_context(cafile=str(pki / "etcd-ca.crt"))
    trust.load_cert_chain(pki / "etcd-client.crt", pki / "etcd-client.key")
    (address,) = (status.address for status in cluster.statuses() if status.name == "etcd")
    async with httpx.AsyncClient(base_url=address, verify=trust, trust_env=False) as client:
        key = {"key": "L3JlZ2lzdHJ5Lw==", "range_end": "L3JlZ2lzdHJ5MA==", "count_only": True}
        found = (await client.post("/v3/kv/range", json=key)).raise_for_status().json()
        body = {"revision": found["header"]["revision"], "physical": True}
        (await client.post("/v3/kv/compaction", json=body)).raise_for_status()
