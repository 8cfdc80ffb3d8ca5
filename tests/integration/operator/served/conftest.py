"""The same, on a cluster with a node: model servers really run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.conftest import quietly
from integration.operator.conftest import operator_access

from mlinfra.cli.running import run
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.state import ClusterState


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster of its own, since elsewhere a hand stands in for the kubelet."""
    cluster = LocalCluster(ClusterState(tmp_path_factory.mktemp("clusters"), "served"), durable=False)

    async def start() -> None:
        with cluster.session("pytest") as session:
            await cluster.up(session, quietly)

    try:
        run(start())
        yield cluster
    finally:
        cluster.down(delete=True)


@pytest.fixture(scope="session")
def operator_kubeconfig(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return operator_access(cluster, tmp_path_factory.mktemp("access"))
