"""A private control plane with simulated nodes, MLflow, and an operator that is started and stopped."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.operator_scale.environment import operator_environment
from mlinfra.errors import MlinfraError
from mlinfra.kube import ClusterConfig, KubernetesClient
from mlinfra.local.cluster import LocalCluster, Session, Step
from mlinfra.local.platform import OPERATOR, Platform
from mlinfra.local.simulated_nodes import SimulatedNode, add_nodes, start_kwok
from mlinfra.local.state import ClusterState

CLUSTER = "operator-scale"
PODS_PER_NODE = 500
POD_SECONDS = 2.0
"""So long a simulated training runs."""
PROGRAMS = {True: "mlinfra_operator", False: "benchmarks.operator_scale.untracked"}


@dataclass(slots=True)
class World:
    """What the benchmark runs in."""

    platform: Platform
    session: Session
    client: KubernetesClient
    step: Step
    python: Path

    @property
    def config(self) -> ClusterConfig:
        return self.client.config

    @property
    def tracking_uri(self) -> str:
        return self.platform.mlflow_url

    def stop_operator(self) -> None:
        """End the operator, if it runs."""
        processes = self.platform.cluster.processes
        record = processes.record(OPERATOR)
        if record is not None:
            processes.stop([record])

    async def start_operator(self, *, tracked: bool) -> float:
        """Start the operator, with MLflow or without; seconds until it is ready."""
        began = time.monotonic()
        await self.session.ensure(self.platform.operator(PROGRAMS[tracked], str(self.python)))
        return time.monotonic() - began

    def operator_pid(self) -> int:
        """Of the operator that runs.

        Raises:
            MlinfraError: it does not.
        """
        processes = self.platform.cluster.processes
        record = processes.record(OPERATOR)
        if record is None or not processes.is_running(OPERATOR):
            raise MlinfraError(f"the operator has ended; see {processes.log_of(OPERATOR)}")
        return record.pid


@asynccontextmanager
async def world(folder: Path, step: Step, *, nodes: int) -> AsyncIterator[World]:
    """Everything started, without the operator; gone when the block ends."""
    platform = Platform(LocalCluster(ClusterState(folder / "state", CLUSTER), with_node=False))
    with step("the operator's environment"):
        python = await operator_environment(folder / "venv")
    try:
        with platform.cluster.session("the benchmark operator_scale") as session:
            await platform.up(session, step)
            async with platform.cluster.client() as client:
                made = World(platform, session, client, step, python)
                made.stop_operator()
                with step("simulated nodes") as tell:
                    await start_kwok(platform.cluster, tell, pods_end_after=POD_SECONDS)
                    await add_nodes(
                        client,
                        [
                            SimulatedNode(f"node-{number}", capacity={"pods": str(PODS_PER_NODE)})
                            for number in range(nodes)
                        ],
                    )
                yield made
    finally:
        platform.cluster.down(delete=True)
