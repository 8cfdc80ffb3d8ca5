"""Kills the processes of a platform at moments of a live replay that a seed chooses."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal, TypeVar

from mlinfra.kube.informer import Informer, running
from mlinfra.kube.resource import MODEL_VERSIONS, PODS, RETRAINING_POLICIES, TRAINING_JOBS
from mlinfra.local import procfs
from mlinfra.local.files import read_json
from mlinfra.local.node.pod_files import ContainerFiles, PodFiles
from mlinfra.local.platform import MLFLOW, OPERATOR, Platform
from mlinfra.resources.names import CHECK_ANNOTATION, MODEL_LABEL

T = TypeVar("T")
Object = dict[str, Any]
Victim = Literal["server", "operator", "mlflow"]
VICTIMS: tuple[Victim, ...] = ("server", "operator", "mlflow")
When = date | Literal["training", "promotion"]

NAMESPACE = "default"
LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Blow:
    """One kill.

    Attributes:
        victim: what is killed.
        when: the replay has come to a date; the policy's training runs; the version that came of it is
            registered, and about to be promoted.
        delay: seconds after that.
    """

    victim: Victim
    when: When
    delay: float


def blows(seed: int, first: date, last: date) -> list[Blow]:
    """Each victim once between two dates, once while a model is trained, and once around its promotion."""
    chosen = random.Random(seed)
    days = sorted(first + timedelta(days=chosen.randrange((last - first).days)) for _ in VICTIMS)
    moments: list[tuple[Sequence[When], float]] = [
        (days, 0.3),
        (["training"] * len(VICTIMS), 2.0),
        (["promotion"] * len(VICTIMS), 1.0),
    ]
    return [
        Blow(victim, when, chosen.uniform(0, most))
        for times, most in moments
        for victim, when in zip(chosen.sample(VICTIMS, len(VICTIMS)), times, strict=True)
    ]


@dataclass(slots=True)
class Killer:
    """Strikes one blow after the other, each once what it is for runs.

    Attributes:
        platform: whose processes.
        model: of the replay; its policy has the same name.
        struck: the blows so far.
    """

    platform: Platform
    model: str
    struck: list[Blow] = field(default_factory=list)

    @asynccontextmanager
    async def striking(self, blows: Sequence[Blow]) -> AsyncIterator[None]:
        """While the block runs, at whose end all blows must have been struck."""
        async with self.platform.cluster.client() as client:
            policies, jobs, versions, pods = (
                Informer(client, resource, namespace=NAMESPACE, on_change=lambda *_: None)
                for resource in (RETRAINING_POLICIES, TRAINING_JOBS, MODEL_VERSIONS, PODS)
            )
            seen = _Seen(self.model, policies, jobs, versions, pods)
            async with running(policies, jobs, versions, pods):
                striking = asyncio.create_task(self._strike(blows, seen))
                try:
                    yield
                    assert len(self.struck) == len(blows), f"only {self.struck} were struck"
                finally:
                    striking.cancel()

    async def _strike(self, blows: Sequence[Blow], seen: "_Seen") -> None:
        for blow in blows:
            await _until(lambda when=blow.when: seen.has_come(when))  # type: ignore[misc]
            await asyncio.sleep(blow.delay)
            pid = await _until(lambda victim=blow.victim: self._pid(victim, seen))  # type: ignore[misc]
            if blow.victim == "server":
                os.kill(pid, signal.SIGKILL)
            else:
                # MLflow's workers go with it: each component leads a session of its own.
                os.killpg(pid, signal.SIGKILL)
            self.struck.append(blow)

    def _pid(self, victim: Victim, seen: "_Seen") -> int | None:
        """The process; None while it does not run."""
        if victim == "server":
            node = self.platform.cluster.state.node
            return next(filter(None, (_pid_in(PodFiles.of(node, uid)) for uid in seen.servers())), None)
        table = self.platform.cluster.processes
        record = table.record(OPERATOR if victim == "operator" else MLFLOW)
        return record.pid if record is not None and table.liveness(record) == "running" else None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the cluster knows of a model."""

    model: str
    policies: Informer
    jobs: Informer
    versions: Informer
    pods: Informer

    def has_come(self, when: When) -> bool:
        if isinstance(when, date):
            policy: Object = self.policies.objects.get((NAMESPACE, self.model), {})
            annotations = policy.get("metadata", {}).get("annotations") or {}
            return str(annotations.get(CHECK_ANNOTATION, "")) >= when.isoformat()
        if when == "training":
            own = [obj for obj in self._own(self.jobs) if obj["metadata"]["name"] != f"{self.model}-first"]
            return any((obj.get("status") or {}).get("trainerStatus") for obj in own)
        return len(self._own(self.versions)) > 1

    def servers(self) -> list[str]:
        """UIDs of the pods that serve it, the newest first."""
        own = [
            obj["metadata"]
            for obj in self.pods.objects.values()
            if (obj["metadata"].get("labels") or {}).get(MODEL_LABEL) == self.model
        ]
        newest = sorted(own, key=lambda metadata: str(metadata["creationTimestamp"]), reverse=True)
        return [metadata["uid"] for metadata in newest]

    def _own(self, informer: Informer) -> list[Object]:
        return [obj for obj in informer.objects.values() if obj["spec"]["modelName"] == self.model]


def _pid_in(pod: PodFiles) -> int | None:
    """The first process that runs in a pod, below its launcher."""
    for folder in pod.folder.glob("containers/*"):
        files = ContainerFiles(folder)
        launcher, command = read_json(files.process), read_json(files.started)
        if launcher is None or command is None:
            continue
        if procfs.start_time(launcher["pid"]) == launcher["startTime"] and procfs.start_time(command["pid"]):
            return int(command["pid"])
    return None


async def _until(observe: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := observe()):
        assert time.monotonic() < deadline, "what is waited for did not come"
        await asyncio.sleep(LOOK_SECONDS)
    return found
