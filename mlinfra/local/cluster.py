"""The embedded cluster: what runs, in which order it starts, and how it ends."""

import asyncio
import signal
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from mlinfra.errors import MlinfraError
from mlinfra.kube import ApiError, ClusterConfig, KubernetesClient
from mlinfra.kube.resource import NODES
from mlinfra.local import control_plane
from mlinfra.local.binaries import Sources, find_or_make
from mlinfra.local.credentials import NODE_NAME, Credentials, settle_credentials
from mlinfra.local.files import read_json, write_json
from mlinfra.local.locks import exclusive_lock
from mlinfra.local.network import Network, release_range, settle_network
from mlinfra.local.node.leftovers import stop_leftover_pods
from mlinfra.local.processes import Liveness, ProcessRecord, ProcessSpec, ProcessTable, StartError
from mlinfra.local.state import ClusterState

READY_SECONDS = 60.0
POLL_SECONDS = 0.05
TAIL_LINES = 8
STOPPED_LAST = ("kube-apiserver", "etcd")
"""What the others need to end in order."""

Step = Callable[[str], AbstractContextManager[Callable[[str], None]]]
"""``with step("control plane") as tell:`` shows a step; ``tell(text)`` says what it does now."""


@dataclass(frozen=True, slots=True)
class Component:
    """A daemon, and how to know that it is ready.

    Attributes:
        spec: the daemon as it should run.
        ready: whether it is ready now; it may raise what clients raise while a server is not up yet.
        remedy: what a person may try if it does not start.
        seconds: how long it may take.
    """

    spec: ProcessSpec
    ready: Callable[[], Awaitable[bool]]
    remedy: str = "see the log"
    seconds: float = READY_SECONDS


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """What is known of a component that was started."""

    name: str
    liveness: Liveness
    pid: int
    address: str
    log: str


@dataclass(slots=True)
class Session:
    """One command's hold on a cluster; what it started is stopped again if it does not succeed."""

    processes: ProcessTable
    started: list[str] = field(default_factory=list)

    def start(self, component: Component) -> None:
        """Have a component run, without waiting until it is ready."""
        if self.processes.ensure(component.spec):
            self.started.append(component.spec.name)

    async def ensure(self, component: Component) -> None:
        """Have a component run and be ready.

        Raises:
            StartError: it ended, or was not ready in time; the message has its last lines.
        """
        name = component.spec.name
        self.start(component)
        try:
            async with asyncio.timeout(component.seconds):
                while not await _is_ready(component):
                    if not self.processes.is_running(name):
                        raise StartError(f"{name} ended before it was ready; {self._hint(component)}")
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise StartError(
                f"{name} was not ready within {component.seconds:.0f} s; {self._hint(component)}"
            ) from None

    def roll_back(self) -> None:
        """Stop what this session started, the newest first."""
        records = [record for name in reversed(self.started) if (record := self.processes.record(name))]
        self.processes.stop(sorted(records, key=_stop_order))
        self.started.clear()

    def _hint(self, component: Component) -> str:
        log = self.processes.log_of(component.spec.name)
        lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
        return f"{component.remedy}. Log: {log}\n" + "\n".join(f"    {line[:300]}" for line in lines)


class LocalCluster:
    """One cluster of this machine.

    Args:
        state: where it keeps everything.
        durable: whether etcd flushes to disk; tests do without.
        with_node: whether a node runs, so that pods do.
        capacity: further resources of the node, such as ``nvidia.com/gpu``.
        gang_scheduling: whether the scheduler starts groups of pods together, which is alpha.
        sources: where programs come from.
    """

    def __init__(
        self,
        state: ClusterState,
        *,
        durable: bool = True,
        with_node: bool = True,
        capacity: Mapping[str, str] | None = None,
        gang_scheduling: bool = False,
        sources: Sources | None = None,
    ) -> None:
        self.state = state
        self.processes = ProcessTable(run=state.run, logs=state.logs)
        self._durable = durable
        self._with_node = with_node
        self._capacity = capacity or {}
        self._gang_scheduling = gang_scheduling
        self._sources = sources or Sources.of()

    @property
    def kubeconfig(self) -> Path:
        return self.state.kubeconfig

    @contextmanager
    def session(self, command: str) -> Iterator[Session]:
        """Hold the cluster for one command; roll back what it started if it fails or is interrupted.

        Raises:
            LockedError: another command holds it.
        """
        with exclusive_lock(self.state.lock_file, command=command, what=f"cluster {self.state.name!r}"):
            self.state.create()
            session = Session(self.processes)
            try:
                yield session
            except BaseException:
                with _uninterrupted():
                    session.roll_back()
                    self._stop_leftovers()
                raise

    async def up(self, session: Session, step: Step) -> None:
        """Start the control plane and the node; what runs already is kept.

        Raises:
            MlinfraError: a program cannot be had, or a component does not start.
        """
        with step("programs") as tell:
            programs = await find_or_make(self._sources, tell)
            write_json(self.state.binaries_file, {name: str(path) for name, path in programs.items()})
        with step("control plane") as tell:
            running = {record.name for record in self.processes.records() if self._runs(record)}
            network = settle_network(self.state, running=running)
            credentials = settle_credentials(self.state, network)
            for component in self._control_plane(network, programs, credentials):
                tell(component.spec.name)
                await session.ensure(component)
        if self._with_node:
            with step("local node"):
                await session.ensure(self._node(network, credentials))

    def statuses(self) -> list[ComponentStatus]:
        """All components that were started and not stopped, in the order of their start."""
        return [
            ComponentStatus(
                record.name, self.processes.liveness(record), record.pid, record.address, record.log
            )
            for record in self.processes.records()
        ]

    def down(self, *, delete: bool = False) -> list[str]:
        """Stop all that runs, the newest first; with ``delete`` remove the data as well.

        Returns:
            Names of what was stopped.

        Raises:
            LockedError: another command holds the cluster.
        """
        if not self.state.exists():
            return []
        with exclusive_lock(
            self.state.lock_file, command="mlinfra down", what=f"cluster {self.state.name!r}"
        ):
            records = sorted(self.processes.records(), key=_stop_order)
            stopped = [record.name for record in records if self._runs(record)]
            self.processes.stop(records)
            self._stop_leftovers()
            if delete:
                release_range(self.state.directory)
                self.state.delete()
            return stopped

    def program(self, name: str) -> Path:
        """A program of the cluster, such as kubectl.

        Raises:
            MlinfraError: the cluster was never started.
        """
        stored = read_json(self.state.binaries_file)
        if not stored:
            raise MlinfraError(
                f"cluster {self.state.name!r} was never started in {self.state.root}; run 'mlinfra up'"
            )
        return Path(stored[name])

    def client(self) -> KubernetesClient:
        """A client with the administrator's rights."""
        return KubernetesClient(ClusterConfig.from_kubeconfig(self.state.kubeconfig))

    def _runs(self, record: ProcessRecord) -> bool:
        return self.processes.liveness(record) == "running"

    def _stop_leftovers(self) -> None:
        """Pods outlive a node that was killed; one that was stopped has ended them itself."""
        if not self.processes.is_running("node"):
            stop_leftover_pods(self.state.node)

    def _control_plane(
        self, network: Network, programs: control_plane.Programs, credentials: Credentials
    ) -> list[Component]:
        etcd_pair = credentials.pairs["etcd-client"]
        etcd_trust = ssl.create_default_context(cafile=str(credentials.etcd_authority))
        etcd_trust.load_cert_chain(etcd_pair.certificate, etcd_pair.key)
        admin_trust = ClusterConfig.from_kubeconfig(credentials.kubeconfigs["admin"]).ssl_context
        etcd = control_plane.etcd(self.state, network, programs, credentials, durable=self._durable)
        alpha = control_plane.GANG_SCHEDULING if self._gang_scheduling else ()
        api_server = control_plane.api_server(network, programs, credentials, alpha=alpha)
        manager = control_plane.controller_manager(network, programs, credentials, alpha=alpha)
        scheduler = control_plane.scheduler(network, programs, credentials, alpha=alpha)
        return [
            Component(etcd, _answers(f"{etcd.address}/health", etcd_trust)),
            Component(api_server, _answers(f"{api_server.address}/readyz", admin_trust)),
            Component(manager, _answers(f"{manager.address}/healthz", admin_trust)),
            Component(scheduler, _answers(f"{scheduler.address}/healthz", admin_trust)),
        ]

    def _node(self, network: Network, credentials: Credentials) -> Component:
        spec = control_plane.node(self.state, network, credentials, capacity=self._capacity)

        async def ready() -> bool:
            async with self.client() as client:
                found = await client.find(NODES, NODE_NAME)
                conditions = (found or {}).get("status", {}).get("conditions", [])
                return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

        return Component(spec, ready)


def _stop_order(record: ProcessRecord) -> tuple[int, float]:
    """The newest first, but what others need last."""
    rank = STOPPED_LAST.index(record.name) if record.name in STOPPED_LAST else -1
    return rank, -record.started_at


async def _is_ready(component: Component) -> bool:
    try:
        return await component.ready()
    except (httpx.TransportError, ApiError):
        # Not up yet; one that ended is noticed by its process.
        return False


def _answers(url: str, trust: ssl.SSLContext) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        async with httpx.AsyncClient(verify=trust, trust_env=False, timeout=5.0) as http:
            return (await http.get(url)).is_success

    return ready


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second interrupt must not leave behind what the first one is stopping."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
