"""The operator as a process with its ServiceAccount's rights, and a hand in place of the kubelet."""

import asyncio
import base64
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import yaml
from integration.operator.manifests import IMAGE_DIGEST
from mlflow import MlflowClient
from servers.fault_proxy import Certificates, FaultProxy
from servers.mlflow_server import MlflowServer, free_port
from servers.prometheus_server import prometheus_server

from mlinfra.kube import ClusterConfig, KubernetesClient
from mlinfra.kube.resource import (
    EVENTS,
    JOBS,
    MODEL_VERSIONS,
    NAMESPACES,
    PODS,
    TRAINING_JOBS,
)
from mlinfra.local.operator_access import (
    NAMESPACE,
    install_custom_resources,
    install_namespace_access,
    install_operator_access,
    write_operator_kubeconfig,
)
from mlinfra.resources.names import TRAINING_JOB_LABEL
from mlinfra.tracking.contract import MODEL_TAG

Object = dict[str, Any]
T = TypeVar("T")

PATIENCE_SECONDS = 90.0


async def wait_for(
    probe: Callable[[], Awaitable[T | None]], what: str, *, seconds: float = PATIENCE_SECONDS
) -> T:
    """What the probe gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while True:
        found = await probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        await asyncio.sleep(0.02)


@pytest.fixture
def eventually() -> Callable[..., Awaitable[Any]]:
    return wait_for


@pytest.fixture
def tracking(mlflow_server: MlflowServer) -> MlflowClient:
    return MlflowClient(mlflow_server.uri)


@pytest.fixture(scope="session")
def operator_kubeconfig(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig with the ServiceAccount's own token: a missing rule is noticed."""
    return operator_access(cluster, tmp_path_factory.mktemp("access"))


def operator_access(cluster: Any, folder: Path, *, namespace: str | None = None) -> Path:
    """A kubeconfig for the operator of a cluster, or of one namespace, whose rules are installed."""
    authority = folder / "ca.crt"
    kubeconfig = yaml.safe_load(Path(cluster.kubeconfig).read_text())["clusters"][0]["cluster"]
    if data := kubeconfig.get("certificate-authority-data"):
        authority.write_bytes(base64.b64decode(data))
    else:
        authority.write_bytes((cluster.kubeconfig.parent / kubeconfig["certificate-authority"]).read_bytes())
    path = folder / "operator.kubeconfig"

    async def install() -> None:
        async with KubernetesClient(ClusterConfig.from_kubeconfig(cluster.kubeconfig)) as client:
            await install_custom_resources(client)
            if namespace is None:
                await install_operator_access(client)
            else:
                await install_namespace_access(client, namespace)
            await write_operator_kubeconfig(
                client, path=path, certificate_authority=authority, namespace=namespace or NAMESPACE
            )

    asyncio.run(install())
    return path


@pytest.fixture
async def kube(cluster: Any, operator_kubeconfig: Path) -> AsyncIterator[KubernetesClient]:
    """The administrator's client."""
    async with KubernetesClient(ClusterConfig.from_kubeconfig(cluster.kubeconfig)) as client:
        yield client


@dataclass(slots=True)
class OperatorProcess:
    """The operator, which can be killed and started again."""

    kubeconfig: Path
    tracking_uri: str
    namespace: str
    log: Path
    identity: str
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def token(self) -> Path:
        """The file of its token."""
        user = yaml.safe_load(self.kubeconfig.read_text())["users"][0]["user"]
        return Path(user["tokenFile"])

    def start(self) -> None:
        environment = os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "MLINFRA_WATCH_NAMESPACE": self.namespace,
            "MLINFRA_FEATURE_STORE_URI": "/features",
            "POD_NAME": self.identity,
            **self.environment,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlinfra_operator"], env=environment, stdout=log, stderr=log
            )

    async def ready(self) -> None:
        before = self.log.read_text().count(" ready\n")

        async def told() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            return self.log.read_text().count(" ready\n") > before

        await wait_for(told, "the operator is ready")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(20)
        self.process = None
        return code


@pytest.fixture
async def namespace(kube: KubernetesClient, request: pytest.FixtureRequest) -> str:
    """A namespace of this test's own."""
    name = f"test-{time.time_ns():x}"
    await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def operator_process(
    operator_kubeconfig: Path, mlflow_server: MlflowServer, namespace: str, tmp_path: Path
) -> Iterator[OperatorProcess]:
    log = tmp_path / "operator.log"
    process = OperatorProcess(operator_kubeconfig, mlflow_server.uri, namespace, log, identity="first")
    process.log.touch()
    yield process
    process.kill()


@pytest.fixture
async def proxy(cluster: Any, operator_kubeconfig: Path) -> AsyncIterator[FaultProxy]:
    """A proxy before the API server, with a certificate that its clients trust."""
    pki = cluster.state.pki
    server = ClusterConfig.from_kubeconfig(operator_kubeconfig).server
    https = Certificates(pki / "ca.crt", pki / "apiserver.crt", pki / "apiserver.key")
    async with FaultProxy(server, https) as proxy:
        yield proxy


@pytest.fixture
async def mlflow_proxy(mlflow_server: MlflowServer) -> AsyncIterator[FaultProxy]:
    """A proxy before MLflow, as an Ingress is."""
    async with FaultProxy(mlflow_server.uri) as proxy:
        yield proxy


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes nothing."""
    with prometheus_server(tmp_path, []) as url:
        yield url


@pytest.fixture
def probed_address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def proxied_operator(
    operator_process: OperatorProcess, proxy: FaultProxy, probed_address: str, tmp_path: Path
) -> OperatorProcess:
    """The operator behind the proxy, with a token file of its own; a watch may be silent for a second."""
    kubeconfig = yaml.safe_load(operator_process.kubeconfig.read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = proxy.url
    token = tmp_path / "operator.token"
    token.write_text(Path(kubeconfig["users"][0]["user"]["tokenFile"]).read_text())
    kubeconfig["users"][0]["user"]["tokenFile"] = str(token)
    operator_process.kubeconfig = tmp_path / "operator.kubeconfig"
    operator_process.kubeconfig.write_text(yaml.safe_dump(kubeconfig))
    operator_process.environment |= {
        "MLINFRA_HEALTH_ADDRESS": probed_address,
        "MLINFRA_WATCH_SILENCE_SECONDS": "1",
        "MLINFRA_LEADER_ELECTION": "false",
    }
    return operator_process


@pytest.fixture
def probe(probed_address: str) -> Callable[[str], Awaitable[tuple[int, str]]]:
    """Asks a probe of the proxied operator: status and text; status 0 where nobody answers."""

    async def ask(path: str) -> tuple[int, str]:
        async with httpx.AsyncClient(base_url=f"http://{probed_address}", trust_env=False) as http:
            try:
                answer = await http.get(path)
            except httpx.TransportError as error:
                return 0, str(error)
            return answer.status_code, answer.text

    return ask


@pytest.fixture
async def namespaced_operator(
    cluster: Any, operator_process: OperatorProcess, namespace: str, tmp_path: Path
) -> OperatorProcess:
    """The operator with the ServiceAccount and the Role of its namespace, not started."""
    operator_process.kubeconfig = await asyncio.to_thread(
        operator_access, cluster, tmp_path, namespace=namespace
    )
    return operator_process


@pytest.fixture
async def operator(operator_process: OperatorProcess) -> OperatorProcess:
    """The operator, running."""
    operator_process.start()
    await operator_process.ready()
    return operator_process


@pytest.fixture
def unique() -> str:
    """A name that no other test uses: MLflow is one for all of them."""
    return f"m{time.time_ns():x}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One namespace, as a user and as a kubelet sees it."""

    kube: KubernetesClient
    namespace: str

    async def apply(self, manifest: Object) -> Object:
        named = {**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}}
        return await self.kube.apply(named, field_manager="test")

    async def training_job(self, name: str) -> Object:
        return await self.kube.get(TRAINING_JOBS, name, self.namespace)

    async def model_version(self, name: str) -> Object:
        return await self.kube.get(MODEL_VERSIONS, name, self.namespace)

    async def job(self, name: str) -> Object:
        async def found() -> Object | None:
            return await self.kube.find(JOBS, name, self.namespace)

        return await wait_for(found, f"Job {name}")

    async def job_complete(self, name: str) -> Object:
        """The Job, once its controller has told that it is complete."""

        async def complete() -> Object | None:
            job = await self.kube.get(JOBS, name, self.namespace)
            conditions = job["status"].get("conditions") or []
            return job if any(found["type"] == "Complete" for found in conditions) else None

        return await wait_for(complete, f"Job {name} is complete")

    async def run_id(self, name: str) -> str:
        """The MLflow run that the training container is told."""
        container = (await self.job(name))["spec"]["template"]["spec"]["containers"][0]
        environment = {variable["name"]: variable.get("value") for variable in container["env"]}
        return str(environment["MLFLOW_RUN_ID"])

    async def phase(self, name: str, *phases: str) -> Object:
        async def reached() -> Object | None:
            job = await self.training_job(name)
            return job if (job.get("status") or {}).get("phase") in phases else None

        return await wait_for(reached, f"TrainingJob {name} is {phases}")

    async def version_phase(self, name: str, *phases: str) -> Object:
        async def reached() -> Object | None:
            found = await self.kube.find(MODEL_VERSIONS, name, self.namespace)
            return found if found and (found.get("status") or {}).get("phase") in phases else None

        return await wait_for(reached, f"ModelVersion {name} is {phases}")

    async def events(self, name: str) -> list[Object]:
        found, _ = await self.kube.list(EVENTS, self.namespace, field_selector=f"involvedObject.name={name}")
        return found

    async def pod(self, name: str) -> Object:
        """The unfinished pod of a TrainingJob's Job."""

        async def found() -> Object | None:
            pods, _ = await self.kube.list(
                PODS, self.namespace, label_selector=f"{TRAINING_JOB_LABEL}={name}"
            )
            unfinished = (pod for pod in pods if pod["status"]["phase"] in ("Pending", "Running"))
            return next(unfinished, None)

        return await wait_for(found, f"pod of Job {name}")

    async def train(self, client: MlflowClient, name: str, accuracy: float, models: int = 1) -> str:
        """Train by hand: what a training leaves in MLflow, and how its pod ends; the run's ID."""
        run_id = await self.run_id(name)
        await self.run_pod(name)
        run = client.get_run(run_id)
        for number in range(models):
            logged = client.create_logged_model(
                run.info.experiment_id, name=f"model{number}", source_run_id=run_id
            )
            if models == 1:
                client.set_logged_model_tags(logged.model_id, {MODEL_TAG: "true"})
            client.finalize_logged_model(logged.model_id, "READY")
        client.log_metric(run_id, "test_accuracy", accuracy)
        client.set_terminated(run_id, "FINISHED")
        await self.end_pod(name)
        return run_id

    async def run_pod(self, name: str) -> None:
        """The pod starts, as a kubelet would tell."""
        await self._patch_pod(name, "Running", {"running": {"startedAt": _now()}}, ready="True")

    async def end_pod(self, name: str, exit_code: int = 0, message: str = "", reason: str = "") -> None:
        """The pod ends, as a kubelet would tell."""
        ordinary = "Completed" if exit_code == 0 else "Error"
        terminated = {
            "exitCode": exit_code,
            "reason": reason or ordinary,
            "message": message,
            "startedAt": _now(),
            "finishedAt": _now(),
        }
        phase = "Succeeded" if exit_code == 0 else "Failed"
        await self._patch_pod(name, phase, {"terminated": terminated}, ready="False")

    async def _patch_pod(self, name: str, phase: str, state: Object, *, ready: str) -> None:
        pod = await self.pod(name)
        container = {
            "name": "trainer",
            "image": "image",
            "imageID": f"registry.example/image@{IMAGE_DIGEST}",
            "ready": ready == "True",
            "restartCount": 0,
            "state": state,
        }
        status = {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [container],
        }
        await self.kube.merge_patch(
            PODS, pod["metadata"]["name"], {"status": status}, self.namespace, subresource="status"
        )


@pytest.fixture
def world(kube: KubernetesClient, namespace: str) -> Cluster:
    return Cluster(kube, namespace)


@pytest.fixture
def mlinfra(cluster: Any, namespace: str) -> Callable[..., Awaitable[subprocess.CompletedProcess[str]]]:
    """The command line, as a user of the test's namespace runs it."""

    async def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", "from mlinfra.cli.main import app; app()"]
        return await asyncio.to_thread(
            subprocess.run,
            [*program, *arguments, "--namespace", namespace],
            env=os.environ | {"KUBECONFIG": str(cluster.kubeconfig), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )

    return command


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
