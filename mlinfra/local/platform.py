"""The whole platform on this machine: the embedded cluster, MLflow, and the operator in it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from mlinfra.errors import MlinfraError
from mlinfra.local import mlflow_server, operator_access
from mlinfra.local.cluster import Component, LocalCluster, Session, Step
from mlinfra.local.files import read_json, write_json
from mlinfra.local.network import LOOPBACK, is_free, stored_network
from mlinfra.local.processes import ProcessSpec

MLFLOW = "mlflow"
OPERATOR = "operator"


class Platform:
    """What `mlinfra up` starts."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self._state = cluster.state

    @property
    def feature_store(self) -> Path:
        """Root folder of the feature store that training pods read."""
        return self._state.feature_store

    @property
    def mlflow_url(self) -> str:
        """Address of the MLflow server.

        Raises:
            MlinfraError: it was never started.
        """
        return f"http://{LOOPBACK}:{self._stored_mlflow_port()}"

    async def up(self, session: Session, step: Step) -> None:
        """Start everything; what runs already as it should is kept.

        Raises:
            MlinfraError: something cannot be had or does not start.
        """
        # MLflow takes longest to start: it does so while the control plane does.
        mlflow = self._mlflow()
        session.start(mlflow)
        await self.cluster.up(session, step)
        with step("custom resources and the operator's access"):
            async with self.cluster.client() as client:
                await operator_access.install_custom_resources(client)
                await operator_access.install_operator_access(client)
                await operator_access.write_operator_kubeconfig(
                    client,
                    path=self._operator_kubeconfig,
                    certificate_authority=self._state.pki / "ca.crt",
                )
        with step("MLflow"):
            await session.ensure(mlflow)
            self._store_mlflow(initialized=True)
        with step("operator"):
            await session.ensure(self.operator())

    def ended(self) -> list[str]:
        """Names of the components that ended by themselves."""
        return [each.name for each in self.cluster.statuses() if each.liveness != "running"]

    async def start_again(self) -> list[str]:
        """Have all components run; those that do are kept. The caller holds the cluster.

        Returns:
            Names of those that were started.

        Raises:
            MlinfraError: one does not start.
        """
        # Not the caller's own session: what ran before its command still does after it failed.
        session = Session(self.cluster.processes)
        await self.up(session, _untold)
        return session.started

    @property
    def _mlflow_file(self) -> Path:
        return self._state.mlflow / "server.json"

    @property
    def _operator_kubeconfig(self) -> Path:
        return self._state.pki / "operator.kubeconfig"

    def _stored_mlflow_port(self) -> int:
        stored = read_json(self._mlflow_file)
        if stored is None:
            raise MlinfraError(f"MLflow was never started in {self._state.directory}; run 'mlinfra up'")
        return int(stored["port"])

    def _store_mlflow(self, **changes: int | bool) -> None:
        write_json(self._mlflow_file, (read_json(self._mlflow_file) or {}) | changes)

    def _mlflow(self) -> Component:
        self.cluster.processes.clear_remains(MLFLOW)
        stored = read_json(self._mlflow_file) or {}
        if not self.cluster.processes.is_running(MLFLOW):
            if not stored.get("initialized"):
                mlflow_server.remove_unfinished_database(self._state.mlflow)
            self._store_mlflow(port=mlflow_server.choose_port(stored.get("port"), is_free=is_free))
        port = self._stored_mlflow_port()
        url = self.mlflow_url
        spec = ProcessSpec(
            MLFLOW,
            mlflow_server.mlflow_server_argv(folder=self._state.mlflow, port=port),
            env=mlflow_server.ENVIRONMENT,
            cwd=self._state.mlflow,
            address=url,
        )
        return Component(spec, lambda: _succeeds(f"{url}/health"), seconds=120.0)

    def operator(self, program: str = "mlinfra_operator", python: str = sys.executable) -> Component:
        """The operator, with its own rights in a cluster that was started.

        Args:
            program: module that is run; benchmarks measure one of their own.
            python: the interpreter that runs it.
        """
        network = stored_network(self._state)
        if network is None:
            raise MlinfraError(f"the cluster in {self._state.directory} was never started")
        address = f"{LOOPBACK}:{network.ports[OPERATOR]}"
        ready = f"http://{address}/readyz"
        spec = ProcessSpec(
            OPERATOR,
            [python, "-m", program],
            env={
                "KUBECONFIG": str(self._operator_kubeconfig),
                "MLFLOW_TRACKING_URI": self.mlflow_url,
                "MLINFRA_FEATURE_STORE_URI": self.feature_store.as_uri(),
                "MLINFRA_HEALTH_ADDRESS": address,
                "MLINFRA_MONITORING_URI": (self._state.directory / "monitoring").as_uri(),
                "MLINFRA_PREDICTION_LOG_URI": (self._state.directory / "predictions").as_uri(),
                # There is one here: after a crash the next one need not wait for the lease to expire.
                "POD_NAME": f"mlinfra-operator-{self._state.name}",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "true",
            },
            address=f"http://{address}/healthz",
            inputs=(self._operator_kubeconfig,),
        )
        return Component(spec, lambda: _succeeds(ready))


@contextmanager
def _untold(_title: str) -> Iterator[Callable[[str], None]]:
    """A step that tells nobody."""
    yield lambda _text: None


async def _succeeds(url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:
        return (await http.get(url)).is_success
