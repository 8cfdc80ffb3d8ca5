"""A client of the private cluster with a node: pods run here."""

from collections.abc import AsyncIterator

import pytest

from mlinfra.kube import KubernetesClient
from mlinfra.local.cluster import LocalCluster


@pytest.fixture
async def node_client(node_cluster: LocalCluster) -> AsyncIterator[KubernetesClient]:
    async with node_cluster.client() as client:
        yield client
