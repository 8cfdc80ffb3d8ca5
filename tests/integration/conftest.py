"""A private control plane for the tests that need a real API server."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mlinfra.cli.running import run
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.state import ClusterState


@contextmanager
def quietly(title: str) -> Iterator[Callable[[str], None]]:
    """A step that tells nobody."""
    yield lambda text: None


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """etcd, API server, controller manager and scheduler, without a node; gone when the tests are."""
    cluster = LocalCluster(
        ClusterState(tmp_path_factory.mktemp("clusters"), "test"), durable=False, with_node=False
    )

    async def start() -> None:
        with cluster.session("pytest") as session:
            await cluster.up(session, quietly)

    try:
        run(start())
        yield cluster
    finally:
        cluster.down(delete=True)
