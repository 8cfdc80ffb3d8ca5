"""A private cluster with a node: pods run here."""

from collections.abc import AsyncIterator, Iterator

import pytest
from integration.conftest import quietly

from mlinfra.cli.running import run
from mlinfra.kube import KubernetesClient
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.state import ClusterState


@pytest.fixture(scope="module")
def node_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    cluster = LocalCluster(ClusterState(tmp_path_factory.mktemp("clusters"), "node"), durable=False)

    async def start() -> None:
        with cluster.session("pytest") as session:
            await cluster.up(session, quietly)

    try:
        run(start())
        yield cluster
    finally:
        cluster.down(delete=True)


@pytest.fixture
async def node_client(node_cluster: LocalCluster) -> AsyncIterator[KubernetesClient]:
    async with node_cluster.client() as client:
        yield client
