"""What kube-proxy does elsewhere: a Service's address leads to the ready pods that its selector finds.

A Service's ClusterIP is a loopback address here, so the node listens on it. Which pod a connection goes to
is decided when it comes; it stays there until it ends, as with kube-proxy.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlinfra.kube import KubernetesClient
from mlinfra.kube.informer import Informer, Key
from mlinfra.kube.resource import SERVICES
from mlinfra.local.node.probes import named_ports

Document = Mapping[str, Any]

CHUNK_BYTES = 65536
BIND_RETRY_SECONDS = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Front:
    """An address that a Service has, and whose it is."""

    host: str
    port: int
    service: Key
    port_name: str


def fronts_of(service: Document) -> Iterator[Front]:
    """Where a Service is to be answered; nowhere where it is headless or its endpoints are not pods'."""
    spec = service["spec"]
    host = spec.get("clusterIP")
    if not spec.get("selector") or not host or host == "None" or spec.get("type") == "ExternalName":
        return
    key = (service["metadata"]["namespace"], service["metadata"]["name"])
    for item in spec.get("ports") or []:
        if item.get("protocol", "TCP") == "TCP":
            yield Front(host, item["port"], key, item.get("name") or "")


def backends_of(service: Document, port_name: str, pods: Iterable[Document]) -> list[tuple[str, int]]:
    """Address and port of each pod that may answer now: ready, and not asked to end."""
    ports = [item for item in service["spec"].get("ports") or [] if (item.get("name") or "") == port_name]
    if not ports:
        return []
    wanted = ports[0].get("targetPort") or ports[0]["port"]
    found = []
    for pod in pods:
        if not (_is_selected(service, pod) and _is_ready(pod)):
            continue
        port = wanted if isinstance(wanted, int) else _named_port(pod, wanted)
        if port is not None:
            found.append((pod["status"]["podIP"], port))
    return sorted(found)


class ServiceProxy:
    """Listens on the addresses of all Services.

    Args:
        client: client of the cluster.
        pods: all pods of this node, as the API has them.
    """

    def __init__(self, client: KubernetesClient, pods: Callable[[], Iterable[Document]]) -> None:
        self._pods = pods
        self._changed = asyncio.Event()
        self._servers: dict[Front, asyncio.Server] = {}
        self._turn = itertools.count()
        self._services = Informer(client, SERVICES, on_change=lambda change, obj: self._changed.set())

    @property
    def services(self) -> list[Document]:
        """All Services that are known."""
        return list(self._services.objects.values())

    async def run(self) -> None:
        """Answer until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._services.run())
                while True:
                    await self._settle()
        finally:
            for server in self._servers.values():
                server.close()

    async def _settle(self) -> None:
        self._changed.clear()
        wanted = {front for service in self.services for front in fronts_of(service)}
        for front in self._servers.keys() - wanted:
            self._servers.pop(front).close()
        failed = False
        for front in sorted(wanted - self._servers.keys(), key=lambda each: (each.host, each.port)):
            try:
                self._servers[front] = await asyncio.start_server(
                    partial(self._serve, front), front.host, front.port
                )
            except OSError as error:
                failed = True
                logger.warning("Service %s is not answered: %s", "/".join(front.service), error)
        try:
            async with asyncio.timeout(BIND_RETRY_SECONDS if failed else None):
                await self._changed.wait()
        except TimeoutError:
            # What had the address may be gone by now.
            return

    async def _serve(self, front: Front, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            backend = await self._connect(front)
            if backend is None:
                return
            try:
                await asyncio.gather(_pass_on(reader, backend[1]), _pass_on(backend[0], writer))
            except OSError:
                # One side broke off; both are closed, which tells the other side so.
                return
            finally:
                backend[1].close()
        finally:
            writer.close()

    async def _connect(self, front: Front) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to one of the pods in turn; the others are tried where it has just gone."""
        service = self._services.objects.get(front.service)
        backends = backends_of(service, front.port_name, self._pods()) if service else []
        first = next(self._turn)
        for number in range(len(backends)):
            host, port = backends[(first + number) % len(backends)]
            try:
                return await asyncio.open_connection(host, port)
            except OSError as error:
                logger.info("Service %s, %s:%d: %s", "/".join(front.service), host, port, error)
        return None


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _is_selected(service: Document, pod: Document) -> bool:
    labels = pod["metadata"].get("labels") or {}
    same = pod["metadata"]["namespace"] == service["metadata"]["namespace"]
    return same and all(labels.get(name) == value for name, value in service["spec"]["selector"].items())


def _is_ready(pod: Document) -> bool:
    if pod["metadata"].get("deletionTimestamp") or not pod.get("status", {}).get("podIP"):
        return False
    conditions = pod["status"].get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _named_port(pod: Document, name: str) -> int | None:
    for container in pod["spec"]["containers"]:
        if name in (ports := named_ports(container)):
            return ports[name]
    return None
