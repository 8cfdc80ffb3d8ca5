"""Probes of a container: what a kubelet asks it, how often, and what the answers come to."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

Document = Mapping[str, Any]
Execute = Callable[[Sequence[str], float], Awaitable[str | None]]
"""Runs a command in the container for so many seconds at most; why it failed, None where it did not."""

SUCCESS = range(200, 400)
"""HTTP status codes that a kubelet takes for healthy."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One of a container's probes, with Kubernetes' defaults."""

    handler: Document
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    successes: int = 1
    failures: int = 3

    @classmethod
    def of(cls, probe: Document | None) -> "Probe | None":
        """From a container's ``readinessProbe``, ``livenessProbe`` or ``startupProbe``."""
        if not probe:
            return None
        return cls(
            handler=probe,
            initial_delay=float(probe.get("initialDelaySeconds") or 0),
            period=float(probe.get("periodSeconds") or 10),
            timeout=float(probe.get("timeoutSeconds") or 1),
            successes=int(probe.get("successThreshold") or 1),
            failures=int(probe.get("failureThreshold") or 3),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Answers counted: as many of one kind in a row as the probe's threshold asks for turn it.

    Attributes:
        healthy: what the probe says now; None before it says anything.
        row: how many of the newest answers are alike.
        last: whether the newest one was good.
    """

    healthy: bool | None = None
    row: int = 0
    last: bool | None = None

    def after(self, good: bool, probe: Probe) -> "Verdict":
        """With one more answer."""
        row = self.row + 1 if good == self.last else 1
        enough = row >= (probe.successes if good else probe.failures)
        return Verdict(good if enough else self.healthy, row, good)


async def act(handler: Document, target: "Target", *, timeout: float) -> str | None:
    """Do what a probe or a hook says; why it failed, None where it did not."""
    try:
        async with asyncio.timeout(timeout):
            if command := handler.get("exec"):
                return await target.execute(command["command"], timeout)
            if request := handler.get("httpGet"):
                return await _get(request, target, timeout=timeout)
            if socket := handler.get("tcpSocket"):
                return await _connect(socket, target)
            if sleep := handler.get("sleep"):
                await asyncio.sleep(float(sleep["seconds"]))
                return None
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    raise ValueError(f"the local node does not know how to do {', '.join(handler)}")


@dataclass(frozen=True, slots=True)
class Target:
    """The container that is asked.

    Attributes:
        address: its pod's.
        ports: its named ports.
        execute: runs a command in it.
    """

    address: str
    ports: Mapping[str, int]
    execute: Execute

    def port(self, port: int | str) -> int:
        """The number of a port that may be named."""
        return port if isinstance(port, int) else self.ports.get(port) or int(port)


def named_ports(container: Document) -> dict[str, int]:
    """Numbers of a container's ports by name."""
    return {item["name"]: item["containerPort"] for item in container.get("ports") or [] if item.get("name")}


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told: ``ready`` of each turn, ``started`` once, ``unhealthy`` when the container has to end."""

    started: Callable[[], Awaitable[None]]
    ready: Callable[[bool], Awaitable[None]]
    unhealthy: Callable[[str], Awaitable[None]]


async def watch_container(container: Document, target: Target, listener: Listener) -> None:
    """Ask a container that runs until it has to end, or for ever; to be cancelled when it has ended."""
    startup = Probe.of(container.get("startupProbe"))
    if startup is not None and not await _until_started(startup, target, listener):
        return
    await listener.started()
    readiness, liveness = Probe.of(container.get("readinessProbe")), Probe.of(container.get("livenessProbe"))
    if readiness is None:
        await listener.ready(True)
    async with asyncio.TaskGroup() as group:
        if readiness is not None:
            group.create_task(_tell_readiness(readiness, target, listener))
        if liveness is not None:
            group.create_task(_end_when_unhealthy(liveness, target, listener, "liveness"))


async def _until_started(probe: Probe, target: Target, listener: Listener) -> bool:
    verdict = Verdict()
    await asyncio.sleep(probe.initial_delay)
    while True:
        failure = await act(probe.handler, target, timeout=probe.timeout)
        verdict = verdict.after(failure is None, probe)
        if verdict.healthy:
            return True
        if verdict.healthy is False:
            await listener.unhealthy(f"startup probe failed: {failure}")
            return False
        await asyncio.sleep(probe.period)


async def _tell_readiness(probe: Probe, target: Target, listener: Listener) -> None:
    verdict = Verdict()
    await asyncio.sleep(probe.initial_delay)
    while True:
        failure = await act(probe.handler, target, timeout=probe.timeout)
        told, verdict = verdict.healthy, verdict.after(failure is None, probe)
        if verdict.healthy is not told:
            await listener.ready(bool(verdict.healthy))
        await asyncio.sleep(probe.period)


async def _end_when_unhealthy(probe: Probe, target: Target, listener: Listener, what: str) -> None:
    verdict = Verdict()
    await asyncio.sleep(probe.initial_delay)
    while True:
        failure = await act(probe.handler, target, timeout=probe.timeout)
        verdict = verdict.after(failure is None, probe)
        if verdict.healthy is False:
            await listener.unhealthy(f"{what} probe failed: {failure}")
            return
        await asyncio.sleep(probe.period)


async def _get(request: Document, target: Target, *, timeout: float) -> str | None:
    scheme = str(request.get("scheme") or "HTTP").lower()
    host = request.get("host") or target.address
    url = f"{scheme}://{host}:{target.port(request['port'])}{request.get('path') or '/'}"
    headers = [(item["name"], item["value"]) for item in request.get("httpHeaders") or []]
    try:
        # A kubelet does not check a pod's certificate either.
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=timeout) as client:
            answer = await client.get(url, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{url}: {type(error).__name__} {error}".rstrip()
    return None if answer.status_code in SUCCESS else f"{url}: HTTP {answer.status_code}"


async def _connect(socket: Document, target: Target) -> str | None:
    host, port = socket.get("host") or target.address, target.port(socket["port"])
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return f"{host}:{port}: {error}"
    writer.close()
    return None
