"""A private control plane and an MLflow server, for the tests that need real ones."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from servers.mlflow_server import MlflowServer, free_port

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


@pytest.fixture(scope="module")
def node_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """The same with a node, on which pods run."""
    cluster = LocalCluster(ClusterState(tmp_path_factory.mktemp("clusters"), "node"), durable=False)

    async def start() -> None:
        with cluster.session("pytest") as session:
            await cluster.up(session, quietly)

    try:
        run(start())
        yield cluster
    finally:
        cluster.down(delete=True)


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """One server for all tests; whoever stops it starts it again."""
    server = MlflowServer(folder=tmp_path_factory.mktemp("mlflow"), port=free_port())
    try:
        server.start()
        yield server
    finally:
        server.stop()
