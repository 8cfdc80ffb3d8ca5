"""Deployments and Services on the local node: probes, restarts, a change of pods that no client notices."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from integration.conftest import quietly
from integration.operator.conftest import wait_for

from mlinfra.kube import KubernetesClient
from mlinfra.kube.resource import DEPLOYMENTS, PODS, SERVICES
from mlinfra.local.cluster import LocalCluster

Object = dict[str, Any]
T = TypeVar("T")

PORT = 8080
SERVER = """
import http.server, os, pathlib, signal, sys, threading
folder = pathlib.Path(os.environ["TMPDIR"])
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        ill = self.path == "/live" and (folder / "sick").exists()
        failing = ill or self.path == os.environ.get("FAILS")
        if self.path == "/fall-ill":
            (folder / "sick").touch()
        body = os.environ["ANSWER"].encode()
        self.send_response(503 if failing else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8080), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""


def deployment(name: str, answer: str, *, container: Object | None = None, **env: str) -> Object:
    variables = [{"name": key, "value": value} for key, value in {"ANSWER": answer, **env}.items()]
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    main = {
        "name": "main",
        "image": "none",
        "command": [sys.executable, "-c", SERVER],
        "env": [address, *variables],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1},
        "livenessProbe": {
            "httpGet": {"path": "/live", "port": PORT},
            "periodSeconds": 1,
            "failureThreshold": 2,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    } | (container or {})
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [main]}},
        },
    }


def service(name: str, app: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": app}, "ports": [{"port": PORT, "targetPort": "http"}]},
    }


@dataclass(slots=True)
class Traffic:
    """What clients of a Service have seen."""

    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@asynccontextmanager
async def traffic(url: str) -> AsyncIterator[Traffic]:
    """Requests one after the other, each on a new connection."""
    seen = Traffic()

    async def ask() -> None:
        while True:
            try:
                async with httpx.AsyncClient(trust_env=False) as client:
                    answer = await client.get(url)
                answer.raise_for_status()
                seen.answers.append(answer.text)
            except httpx.HTTPError as error:
                seen.failures.append(f"{type(error).__name__}: {error}")
            await asyncio.sleep(0.01)

    asking = asyncio.create_task(ask())
    try:
        yield seen
    finally:
        asking.cancel()


def available(client: KubernetesClient, name: str, count: int = 1) -> Callable[[], Awaitable[Object | None]]:
    async def probe() -> Object | None:
        found = await client.get(DEPLOYMENTS, name, "default")
        status = found.get("status") or {}
        settled = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        same = status.get("updatedReplicas", 0) == status.get("replicas") == count
        return found if settled and same and status.get("availableReplicas", 0) == count else None

    return probe


async def pods_of(client: KubernetesClient, name: str) -> list[Object]:
    return (await client.list(PODS, "default", label_selector=f"app={name}"))[0]


async def test_a_service_leads_to_ready_pods_and_a_roll_out_loses_no_request(
    node_client: KubernetesClient,
) -> None:
    client = node_client
    await client.apply(deployment("web", "one"), field_manager="test")
    made = await client.apply(service("web", "web"), field_manager="test")
    await wait_for(available(client, "web"), "Deployment web")
    url = f"http://{made['spec']['clusterIP']}:{PORT}/"
    async with traffic(url) as seen:

        async def told(answer: str) -> bool:
            return answer in seen.answers[-5:]

        await wait_for(lambda: told("one"), "answers of the first pod")
        await client.apply(deployment("web", "two"), field_manager="test")
        await wait_for(available(client, "web"), "the new pod, alone")
        await wait_for(lambda: told("two"), "answers of the second pod")
        before = len(seen.answers)

        async def went_on() -> bool:
            return len(seen.answers) > before + 20

        await wait_for(went_on, "more answers")
    assert seen.failures == []
    assert set(seen.answers) == {"one", "two"}


async def test_a_pod_that_is_not_ready_gets_no_request(node_client: KubernetesClient) -> None:
    client = node_client
    await client.apply(deployment("unready", "never", FAILS="/ready"), field_manager="test")
    made = await client.apply(service("unready", "unready"), field_manager="test")

    async def runs() -> Object | None:
        pods = await pods_of(client, "unready")
        return next((pod for pod in pods if pod.get("status", {}).get("phase") == "Running"), None)

    pod = await wait_for(runs, "a running pod")
    assert pod["status"]["containerStatuses"][0]["ready"] is False
    with pytest.raises(httpx.HTTPError):
        async with httpx.AsyncClient(trust_env=False) as http:
            await http.get(f"http://{made['spec']['clusterIP']}:{PORT}/")
    await client.delete(DEPLOYMENTS, "unready", "default")
    await client.delete(SERVICES, "unready", "default")


async def test_a_container_that_is_not_alive_is_started_again(node_client: KubernetesClient) -> None:
    client = node_client
    await client.apply(deployment("ill", "well"), field_manager="test")
    await wait_for(available(client, "ill"), "Deployment ill")
    pod = (await pods_of(client, "ill"))[0]
    async with httpx.AsyncClient(trust_env=False) as http:
        await http.get(f"http://{pod['status']['podIP']}:{PORT}/fall-ill")

    async def backs_off() -> Object | None:
        found = (await pods_of(client, "ill"))[0]["status"]["containerStatuses"][0]
        return found if found["restartCount"] == 1 else None

    status = await wait_for(backs_off, "one restart")
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert status["lastState"]["terminated"]["exitCode"] == 0
    await client.delete(DEPLOYMENTS, "ill", "default")


async def test_hooks_and_probes_run_commands_in_the_container(
    node_client: KubernetesClient, tmp_path: Path
) -> None:
    client = node_client
    done = tmp_path / "done"
    container = {
        "readinessProbe": {
            "exec": {"command": ["sh", "-c", 'test "$ANSWER" = inside -a -f /etc/hosts']},
            "periodSeconds": 1,
        },
        "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", f"echo $ANSWER > {done}"]}}},
    }
    await client.apply(deployment("hooks", "inside", container=container), field_manager="test")
    await wait_for(available(client, "hooks"), "Deployment hooks")
    await client.delete(DEPLOYMENTS, "hooks", "default")

    async def gone() -> bool:
        return not await pods_of(client, "hooks")

    await wait_for(gone, "the end of the pod")
    assert done.read_text() == "inside\n"


async def test_an_adopted_pod_is_probed_and_started_again_as_before(
    node_cluster: LocalCluster, node_client: KubernetesClient
) -> None:
    client = node_client
    await client.apply(deployment("adopted", "still here"), field_manager="test")
    await wait_for(available(client, "adopted"), "Deployment adopted")
    (before,) = await pods_of(client, "adopted")
    record = node_cluster.processes.record("node")
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    with node_cluster.session("pytest") as session:
        await node_cluster.up(session, quietly)
    (after,) = await pods_of(client, "adopted")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    async with httpx.AsyncClient(trust_env=False) as http:
        await http.get(f"http://{after['status']['podIP']}:{PORT}/fall-ill")

    async def started_again() -> bool:
        status = (await pods_of(client, "adopted"))[0]["status"]["containerStatuses"][0]
        return status["restartCount"] == 1 and "running" in status["state"]

    await wait_for(started_again, "the restart", seconds=60)
    await client.delete(DEPLOYMENTS, "adopted", "default")
