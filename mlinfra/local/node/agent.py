"""The agent: keeps the Node alive, and a worker for each pod that is bound to it."""

import asyncio
import logging
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.client import Object
from mlinfra.kube.informer import ChangeType, Informer
from mlinfra.kube.resource import LEASES, NODES, PODS
from mlinfra.local.node.addresses import choose_address
from mlinfra.local.node.container_process import isolation_failure
from mlinfra.local.node.node_object import LEASE_SECONDS, lease, machine_capacity, node_manifest, node_status
from mlinfra.local.node.pod_setup import NodeServices, Surroundings
from mlinfra.local.node.pod_worker import PodWorker
from mlinfra.local.node.service_proxy import ServiceProxy

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = LEASE_SECONDS / 4
TOKEN_CHECK_SECONDS = 30.0
STOP_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """How a node is called and what it offers."""

    name: str
    folder: Path
    pod_network: IPv4Network
    port: int
    capacity: Mapping[str, str]


class Agent:
    """Runs the pods bound to one node until it is told to stop."""

    def __init__(self, client: KubernetesClient, settings: NodeSettings) -> None:
        self._client = client
        self._settings = settings
        self._isolation_failure = isolation_failure()
        server = urlsplit(client.config.server)
        self._services = NodeServices(
            client=client,
            surroundings=Surroundings(
                api_host=server.hostname or "",
                api_port=str(server.port or 443),
                isolated=self._isolation_failure is None,
            ),
            folder=settings.folder,
            pods=lambda: [(worker.address, worker.pod) for worker in self._workers.values()],
        )
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._pods = Informer(
            client, PODS, on_change=self._on_pod, field_selector=f"spec.nodeName={settings.name}"
        )
        self._proxy = ServiceProxy(client, self._pods.objects.values)

    def worker(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a pod."""
        pod = self._pods.objects.get((namespace, name))
        return self._workers.get(pod["metadata"]["uid"]) if pod else None

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; every pod has ended then."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        registered = await self._register()
        background = [
            asyncio.create_task(self._pods.run()),
            asyncio.create_task(self._heartbeat(registered)),
            asyncio.create_task(self._renew_tokens()),
            asyncio.create_task(self._proxy.run()),
        ]
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([*background, stop], return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in background if task.done()]
        await self._stop()
        for task in background:
            task.cancel()
        for task in ended:
            task.result()

    def _on_pod(self, change: ChangeType, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if change == "DELETED":
            if worker:
                worker.forget()
        elif worker:
            worker.update(pod)
        elif not self._stopping.is_set():
            self._start(uid, pod)

    def _start(self, uid: str, pod: Object) -> None:
        taken = {worker.address for worker in self._workers.values()}
        worker = PodWorker(pod, choose_address(self._settings.pod_network, taken), self._services)
        self._workers[uid] = worker
        self._tell_names()
        task = asyncio.create_task(worker.run(), name=f"pod {pod['metadata']['name']}")
        self._tasks[uid] = task
        task.add_done_callback(lambda done: self._finished(uid, done))

    def _finished(self, uid: str, task: "asyncio.Task[None]") -> None:
        self._workers.pop(uid, None)
        self._tasks.pop(uid, None)
        self._tell_names()
        if not task.cancelled() and (error := task.exception()):
            # One pod's trouble must not end the others; the node is stopped so that it is noticed.
            logger.error("%s", task.get_name(), exc_info=error)
            self._stopping.set()

    def _tell_names(self) -> None:
        """Pods come and go: those that run learn each other's names."""
        for worker in self._workers.values():
            worker.update_hosts()

    async def _register(self) -> Object:
        """Have the Node, and say what it offers; waits for the API server."""
        while True:
            try:
                node = await self._client.find(NODES, self._settings.name)
                if node is None:
                    node = await self._client.create(NODES, node_manifest(self._settings.name))
                await self._report(ready=True)
                await self._renew_lease(node)
                await self._remove_orphaned_files()
                return node
            except (ApiError, httpx.TransportError) as error:
                logger.warning("registering node %s: %s", self._settings.name, error)
                await asyncio.sleep(1)

    async def _report(self, *, ready: bool) -> None:
        status = node_status(
            capacity=machine_capacity(self._settings.capacity),
            port=self._settings.port,
            isolation_failure=self._isolation_failure,
            ready=ready,
            now=time.time(),
        )
        await self._client.merge_patch(NODES, self._settings.name, {"status": status}, subresource="status")

    async def _renew_lease(self, node: Object) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        wanted: dict[str, Any] = lease(self._settings.name, owner_uid=node["metadata"]["uid"], now=now)
        namespace = wanted["metadata"]["namespace"]
        if await self._client.find(LEASES, self._settings.name, namespace) is None:
            await self._client.create(LEASES, wanted, namespace)
        else:
            await self._client.merge_patch(LEASES, self._settings.name, {"spec": wanted["spec"]}, namespace)

    async def _heartbeat(self, node: Object) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self._renew_lease(node)
                await self._report(ready=True)
            except (ApiError, httpx.TransportError) as error:
                logger.warning("heartbeat: %s", error)

    async def _renew_tokens(self) -> None:
        while True:
            await asyncio.sleep(TOKEN_CHECK_SECONDS)
            for worker in list(self._workers.values()):
                try:
                    await worker.renew_tokens()
                except (ApiError, httpx.TransportError) as error:
                    logger.warning("renewing a token: %s", error)

    async def _remove_orphaned_files(self) -> None:
        """Files of pods that were deleted while the agent was away."""
        pods, _ = await self._client.list(PODS, field_selector=f"spec.nodeName={self._settings.name}")
        known = {pod["metadata"]["uid"] for pod in pods}
        folder = self._settings.folder / "pods"
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.name not in known:
                shutil.rmtree(entry, ignore_errors=True)

    async def _stop(self) -> None:
        """End all pods; they are not to blame."""
        logger.info("stopping %d pods", len(self._tasks))
        for worker in self._workers.values():
            worker.stop()
        tasks = list(self._tasks.values())
        idle = [task for uid, task in self._tasks.items() if self._workers[uid].is_idle()]
        for task in idle:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
        try:
            await self._report(ready=False)
        except (ApiError, httpx.TransportError) as error:
            logger.warning("the node could not be reported stopped: %s", error)
