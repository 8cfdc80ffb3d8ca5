"""The life of one pod on the local node, from its binding to its end."""

import asyncio
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from mlinfra.kube import ApiError
from mlinfra.kube.resource import PODS
from mlinfra.local.files import read_json, write_json
from mlinfra.local.node.container_process import ContainerProcess, Launch
from mlinfra.local.node.environment import Document, MissingReferenceError
from mlinfra.local.node.hosts import write_hosts
from mlinfra.local.node.pod_files import PodFiles
from mlinfra.local.node.pod_inputs import Token, read_references, read_tokens
from mlinfra.local.node.pod_setup import (
    NodeServices,
    launch_of,
    make_folders,
    termination_message,
    write_files,
)
from mlinfra.local.node.pod_status import (
    ContainerObservation,
    Ended,
    Running,
    Terminated,
    Waiting,
    pod_status,
    refused,
)
from mlinfra.local.node.probes import Listener, Target, act, named_ports, watch_container
from mlinfra.local.node.refusal import refusal_of
from mlinfra.local.node.restarts import crashes_in_a_row, is_restarted, restart_delay
from mlinfra.local.node.volumes import TokenFile, plan_files
from mlinfra.local.node.waiting import first_of

logger = logging.getLogger(__name__)

MISSING_RETRY_SECONDS = 2.0
REPORT_RETRY_SECONDS = 1.0
END_POLL_SECONDS = 0.02
DEFAULT_GRACE_SECONDS = 30.0
VANISHED_EXIT_CODE = 137

STOPPED = Ended("Terminated", "the local node was stopped", disruption="TerminationByKubelet")
VANISHED = Ended(
    "NodeRestarted",
    "the pod's processes were gone when the local node came back",
    disruption="TerminationByKubelet",
)


class PodWorker:
    """Runs one pod; `run` returns when the pod is gone from the API."""

    def __init__(self, pod: Document, address: str, services: NodeServices) -> None:
        self.pod = pod
        self.files = PodFiles.of(services.folder, pod["metadata"]["uid"])
        record = read_json(self.files.record) or {}
        self.address: str = record.get("address", address)
        self._start_time: float = record.get("startTime", time.time())
        self._known = bool(record)
        self._services = services
        self._containers = {
            item["name"]: ContainerObservation(item["name"], item.get("image", ""), Waiting())
            for item in pod["spec"]["containers"]
        }
        self._processes: dict[str, ContainerProcess] = {}
        self._launches: dict[str, Launch] = {}
        self._crashes: dict[str, int] = {}
        self._tokens: dict[TokenFile, Token] = {}
        self._ended: Ended | None = None
        self._will_restart = False
        self._idle = False
        self._stopping = asyncio.Event()
        self._deleted = asyncio.Event()
        self._gone = asyncio.Event()
        self._reported: dict[str, Any] = {}
        self._reporting = asyncio.Lock()
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()

    def update(self, pod: Document) -> None:
        """The pod changed in the API."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()

    def forget(self) -> None:
        """The pod is gone from the API: nothing of it may go on."""
        self._gone.set()
        self._deleted.set()

    def stop(self) -> None:
        """The node stops: end the pod, which is not to blame."""
        self._ended = self._ended or STOPPED
        self._stopping.set()

    def update_hosts(self) -> None:
        """Tell a pod that runs the names of the others anew."""
        if self.files.hosts.exists():
            write_hosts(self.files.hosts, (self.address, self.pod), self._services.pods())

    def is_finished(self, container: str) -> bool:
        """Whether a container has ended for good."""
        observed = self._containers.get(container)
        ended = observed is not None and isinstance(observed.state, Terminated)
        return (ended and not self._will_restart) or self._gone.is_set()

    def is_idle(self) -> bool:
        """Whether the pod has ended and only waits for its deletion."""
        return self._idle

    async def run(self) -> None:
        if self.pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}:
            await self._live()
            if self._gone.is_set() or not await self._report_until_stored():
                return
            shutil.rmtree(self.files.folder / "volumes", ignore_errors=True)
            if self._stopping.is_set():
                return
        self._idle = True
        await self._deleted.wait()
        self._idle = False
        await self._finalize()

    async def _live(self) -> None:
        """From taking the pod up until all its containers have ended."""
        if self._deleted.is_set() and not self._known:
            return
        launches = await self._prepare()
        if launches is None:
            return
        write_json(
            self.files.record,
            {
                "namespace": self.pod["metadata"]["namespace"],
                "name": self.pod["metadata"]["name"],
                "address": self.address,
                "startTime": self._start_time,
            },
        )
        async with asyncio.TaskGroup() as group:
            watchers = [
                group.create_task(self._end_when_asked()),
                group.create_task(self._end_at_deadline()),
            ]
            runs = [
                group.create_task(self._run_container(name, adopt=launch is None))
                for name, launch in launches.items()
            ]
            await asyncio.wait(runs)
            for watcher in watchers:
                watcher.cancel()

    async def _prepare(self) -> dict[str, Launch | None] | None:
        """A launch for each container, or None for one that runs already; None if the pod cannot run."""
        if self._known:
            return dict.fromkeys(self._containers)
        if self.pod.get("status", {}).get("phase") == "Running":
            self._fail_vanished()
            return None
        if refusal := refusal_of(self.pod):
            observed = refused(self.pod, refusal, now=time.time())
            self._containers = {item.name: item for item in observed}
            self._ended = Ended(refusal.reason, refusal.message)
            return None
        while not self._deleted.is_set() and not self._stopping.is_set():
            try:
                return await self._set_up()
            except MissingReferenceError as error:
                await self._wait_for("CreateContainerConfigError", str(error))
            except (ApiError, httpx.TransportError, OSError) as error:
                await self._wait_for("ContainerCreating", f"{type(error).__name__}: {error}")
        return None

    async def _set_up(self) -> dict[str, Launch | None]:
        client = self._services.client
        pod = {**self.pod, "status": {**self.pod.get("status", {}), "podIP": self.address}}
        data = await read_references(client, pod)
        planned = plan_files(pod, lambda kind, name: data.get((kind, name)))
        tokens = await read_tokens(client, pod, [item for item in planned if isinstance(item, TokenFile)])
        make_folders(self.files, pod)
        write_files(self.files, planned, tokens)
        write_hosts(self.files.hosts, (self.address, self.pod), self._services.pods())
        self._tokens = tokens
        self._launches = {
            item["name"]: launch_of(
                item, pod=pod, files=self.files, data=data, surroundings=self._services.surroundings
            )
            for item in pod["spec"]["containers"]
        }
        return dict(self._launches)

    async def _wait_for(self, reason: str, message: str) -> None:
        for name, container in self._containers.items():
            self._containers[name] = replace(container, state=Waiting(reason, message))
        await self._report()
        await first_of(self._deleted, self._stopping, seconds=MISSING_RETRY_SECONDS)

    async def _run_container(self, name: str, *, adopt: bool) -> None:
        files, spec = self.files.container(name), self._spec_of(name)
        while True:
            process = (
                ContainerProcess.adopt(files)
                if adopt
                else await ContainerProcess.start(files, await self._launch(name))
            )
            adopt = False
            if process is None:
                self._fail_vanished(name)
                return
            self._processes[name] = process
            state = await self._watch(name, spec, process)
            if state is None:
                self._fail_vanished(name)
                return
            message = termination_message(spec, pod=self.pod, files=self.files, failed=state.exit_code != 0)
            state = replace(state, message=message or state.message)
            if not self._restarts(state):
                self._observe(name, state)
                return
            await self._back_off(name, state)
            if self._deleted.is_set() or self._stopping.is_set():
                self._observe(name, state)
                return

    async def _launch(self, name: str) -> Launch:
        """How a container is started; of an adopted one it has to be found out again."""
        while name not in self._launches:
            try:
                await self._set_up()
            except (MissingReferenceError, ApiError, httpx.TransportError, OSError) as error:
                logger.warning("pod %s: %s", self.pod["metadata"]["name"], error)
                await asyncio.sleep(MISSING_RETRY_SECONDS)
        return self._launches[name]

    async def _watch(self, name: str, spec: Document, process: ContainerProcess) -> Terminated | None:
        """Follow a container to its end, asking its probes meanwhile."""
        if not process.is_running():
            return await process.wait()
        probed = "readinessProbe" in spec or "startupProbe" in spec
        self._containers[name] = replace(
            self._containers[name], state=process.running(), started=not probed, ready=not probed
        )
        await self._report()
        probing = asyncio.create_task(
            watch_container(spec, self._target(name, spec, process), self._listener(name, process))
        )
        ending = asyncio.create_task(process.wait())
        try:
            await asyncio.wait([probing, ending], return_when=asyncio.FIRST_COMPLETED)
            if probing.done():
                probing.result()
            return await ending
        finally:
            probing.cancel()
            ending.cancel()

    def _target(self, name: str, spec: Document, process: ContainerProcess) -> Target:
        async def execute(argv: Sequence[str], seconds: float) -> str | None:
            return await process.execute(argv, await self._launch(name), seconds)

        return Target(self.address, named_ports(spec), execute)

    def _listener(self, name: str, process: ContainerProcess) -> Listener:
        async def started() -> None:
            self._containers[name] = replace(self._containers[name], started=True)
            await self._report()

        async def ready(value: bool) -> None:
            self._containers[name] = replace(self._containers[name], ready=value)
            await self._report()

        async def unhealthy(message: str) -> None:
            logger.warning("pod %s, container %s: %s", self.pod["metadata"]["name"], name, message)
            await self._end_processes({name: process}, self._grace_seconds())

        return Listener(started, ready, unhealthy)

    def _spec_of(self, name: str) -> Document:
        found: Document = next(item for item in self.pod["spec"]["containers"] if item["name"] == name)
        return found

    def _restarts(self, state: Terminated) -> bool:
        asked = is_restarted(self.pod["spec"].get("restartPolicy", "Always"), state.exit_code)
        return asked and self._ended is None and not self._deleted.is_set()

    async def _back_off(self, name: str, state: Terminated) -> None:
        container = self._containers[name]
        lasted = state.finished_at - state.started_at
        self._crashes[name] = crashes_in_a_row(self._crashes.get(name, container.restarts), lasted)
        seconds = restart_delay(self._crashes[name])
        self._will_restart = True
        self._containers[name] = replace(
            container,
            state=Waiting("CrashLoopBackOff", f"restarted in {seconds:.0f} s"),
            restarts=container.restarts + 1,
            previous=state,
            started=False,
            ready=False,
        )
        await self._report()
        await first_of(self._deleted, self._stopping, seconds=seconds)
        self._will_restart = False
        log = self.files.container(name)
        if log.log.exists():
            log.log.replace(log.previous_log)

    def _observe(self, name: str, state: Terminated) -> None:
        self._containers[name] = replace(self._containers[name], state=state)

    def _fail_vanished(self, name: str | None = None) -> None:
        now = time.time()
        gone = Terminated(VANISHED_EXIT_CODE, "ContainerStatusUnknown", self._start_time, now)
        for container in [name] if name else list(self._containers):
            self._observe(container, replace(gone, message=VANISHED.message))
        self._ended = self._ended or VANISHED

    async def _end_when_asked(self) -> None:
        await first_of(self._deleted, self._stopping)
        seconds = self.pod["metadata"].get("deletionGracePeriodSeconds")
        if seconds is None:
            seconds = self._grace_seconds()
        await self._end_all(0.0 if self._gone.is_set() else float(seconds))

    def _grace_seconds(self) -> float:
        return float(self.pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS))

    async def _end_at_deadline(self) -> None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        if seconds is None:
            return
        await asyncio.sleep(max(0.0, self._start_time + seconds - time.time()))
        self._ended = Ended("DeadlineExceeded", f"the pod was active for more than {seconds} s")
        await self._end_all(self._grace_seconds())

    async def _end_all(self, grace_seconds: float) -> None:
        """End what runs, and what is just being started, until cancelled once nothing is left."""
        while True:
            await self._end_processes(dict(self._processes), grace_seconds)
            await asyncio.sleep(END_POLL_SECONDS)

    async def _end_processes(self, processes: Mapping[str, ContainerProcess], grace_seconds: float) -> None:
        deadline = time.monotonic() + grace_seconds
        if grace_seconds > 0:
            await asyncio.gather(
                *(self._end_in_order(name, processes[name], grace_seconds) for name in list(processes))
            )
        while any(process.is_running() for process in processes.values()):
            if time.monotonic() >= deadline or self._gone.is_set():
                for process in processes.values():
                    process.kill()
            await asyncio.sleep(END_POLL_SECONDS)

    async def _end_in_order(self, name: str, process: ContainerProcess, seconds: float) -> None:
        """What the container asks to be done before, and then SIGTERM."""
        spec = self._spec_of(name)
        hook = (spec.get("lifecycle") or {}).get("preStop")
        if hook and process.is_running():
            doing = asyncio.create_task(act(hook, self._target(name, spec, process), timeout=seconds))
            gone, ended = asyncio.create_task(self._gone.wait()), asyncio.create_task(process.wait())
            await asyncio.wait([doing, gone, ended], return_when=asyncio.FIRST_COMPLETED)
            if doing.done() and (failure := doing.result()) is not None:
                logger.warning("pod %s, preStop of %s: %s", self.pod["metadata"]["name"], name, failure)
            for task in (doing, gone, ended):
                task.cancel()
        process.terminate()

    async def renew_tokens(self) -> None:
        """Renew the tokens whose time has come."""
        due = [file for file, token in self._tokens.items() if token.renew_at <= time.time()]
        if due and not self._gone.is_set():
            renewed = await read_tokens(self._services.client, self.pod, due)
            write_files(self.files, due, renewed)
            self._tokens = self._tokens | renewed

    async def _report(self) -> bool:
        """Store the status if it says something new; whether it is stored."""
        async with self._reporting:
            status = pod_status(
                self.pod,
                list(self._containers.values()),
                address=self.address,
                start_time=self._start_time,
                now=time.time(),
                ended=self._ended if self._all_ended() else None,
                will_restart=self._will_restart,
            )
            if status == self._reported:
                return True
            metadata = self.pod["metadata"]
            try:
                stored = await self._services.client.merge_patch(
                    PODS,
                    metadata["name"],
                    {"metadata": {"uid": metadata["uid"]}, "status": status},
                    metadata["namespace"],
                    subresource="status",
                )
            except ApiError as error:
                if error.status in {404, 409}:
                    self.forget()
                    return True
                logger.warning("status of pod %s: %s", metadata["name"], error)
                return False
            except httpx.TransportError as error:
                logger.warning("status of pod %s: %s", metadata["name"], error)
                return False
            self.pod = stored
            self._reported = status
            return True

    def _all_ended(self) -> bool:
        return not any(isinstance(item.state, Running) for item in self._containers.values())

    async def _report_until_stored(self) -> bool:
        while not await self._report():
            if self._stopping.is_set():
                return False
            await asyncio.sleep(REPORT_RETRY_SECONDS)
        return True

    async def _finalize(self) -> None:
        """Let the API server forget the pod, and forget it here."""
        metadata = self.pod["metadata"]
        while not self._gone.is_set():
            try:
                await self._services.client.delete(
                    PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"], grace_period_seconds=0
                )
                break
            except (ApiError, httpx.TransportError) as error:
                if isinstance(error, ApiError) and error.status == 409:
                    break
                logger.warning("deletion of pod %s: %s", metadata["name"], error)
                await asyncio.sleep(REPORT_RETRY_SECONDS)
        shutil.rmtree(self.files.folder, ignore_errors=True)
