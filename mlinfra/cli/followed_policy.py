"""One RetrainingPolicy and all that comes of it, watched: what a live replay waits for."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar

from mlinfra.cli.follow import Outcome, condition, outcome_of
from mlinfra.kube import KubernetesClient
from mlinfra.kube.informer import Informer, running
from mlinfra.kube.resource import MODEL_VERSIONS, RETRAINING_POLICIES, TRAINING_JOBS
from mlinfra.resources import ModelVersion, RetrainingPolicy, TrainingJob
from mlinfra.resources.monitor_status import MonitorEvidence
from mlinfra.resources.names import CHECK_ANNOTATION
from mlinfra.retraining.live.replay import Checked
from mlinfra.retraining.live.story import Retraining, retraining_of
from mlinfra.retraining.live.traffic import ReplayError

T = TypeVar("T")


class FollowedPolicy:
    """A policy, the TrainingJobs and the ModelVersions of its namespace.

    Args:
        client: a client of the cluster.
        namespace, name: of the policy; its model has the same name.
        patience: seconds that one thing is waited for.
    """

    def __init__(self, client: KubernetesClient, *, namespace: str, name: str, patience: float) -> None:
        self._client = client
        self._namespace, self._name, self._patience = namespace, name, patience
        self._changed = asyncio.Event()
        self._policies, self._jobs, self._versions = (
            Informer(client, resource, namespace=namespace, on_change=lambda *_: self._changed.set())
            for resource in (RETRAINING_POLICIES, TRAINING_JOBS, MODEL_VERSIONS)
        )
        self._started: set[str] = set()
        self._broken: str | None = None
        self._said: Sequence[MonitorEvidence] = ()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator["FollowedPolicy"]:
        """Keep all of it current while the block runs."""
        async with running(self._policies, self._jobs, self._versions):
            yield self

    async def check(self, value: str) -> Checked:
        """Have the monitors asked, and wait until what they said is decided on.

        Raises:
            ReplayError: the operator does not answer in time, or holds back a training.
        """
        patch = {"metadata": {"annotations": {CHECK_ANNOTATION: value}}}
        await self._client.merge_patch(RETRAINING_POLICIES, self._name, patch, self._namespace)
        policy = await self._until(lambda: self._asked_for(value), f"an answer to the check {value}")
        status = policy.status
        ready = condition(status.conditions, "Ready")
        if status.phase == "Held" and ready is not None and ready.reason != "CircuitBreakerOpen":
            raise ReplayError(f"the policy holds back a training: {ready.message}")
        self._said = status.monitors
        failed = [each.message for each in status.monitors if each.outcome == "error"]
        started = [each.name for each in (*status.active, *status.history) if each.name not in self._started]
        self._started.update(started)
        breaker = status.circuit_breaker
        opened = breaker.opened_at if breaker is not None else None
        rolled_back = breaker.message if breaker is not None and opened != self._broken else None
        self._broken = opened
        return Checked(
            failed=failed[0] if failed else None,
            job=started[0] if started else None,
            rolled_back=rolled_back,
            taken_back=breaker.version if breaker is not None else None,
        )

    async def settled(self, job: str, time_: datetime) -> Retraining:
        """Wait until a training has come to its end: its version is served, or refused.

        Raises:
            ReplayError: that takes too long.
        """
        began = time.monotonic()
        outcome = await self.outcome(job)
        version = outcome.model_version
        return retraining_of(
            TrainingJob.model_validate(self._jobs.objects[self._namespace, job]),
            version,
            self._said,
            promoted=outcome.succeeded,
            reason=outcome.message,
            time=time_,
            seconds=time.monotonic() - began,
        )

    async def outcome(self, job: str) -> Outcome:
        """The end of a training, once its version is served where it was promoted."""
        return await self._until(lambda: self._outcome(job), f"an end of TrainingJob {job}")

    async def production(self, *, other_than: str | None) -> str:
        """Wait until another version in Production is served; its number."""
        version = await self._until(
            lambda: self._in_production(other_than), "a version that is served in Production"
        )
        return version.spec.version

    def version(self, name: str) -> ModelVersion | None:
        """A ModelVersion by its name."""
        found = self._versions.objects.get((self._namespace, name))
        return ModelVersion.model_validate(found) if found is not None else None

    def _asked_for(self, value: str) -> RetrainingPolicy | None:
        found = self._policies.objects.get((self._namespace, self._name))
        if found is None or (found.get("status") or {}).get("lastCheckRequest") != value:
            return None
        return RetrainingPolicy.model_validate(found)

    def _outcome(self, name: str) -> Outcome | None:
        found = self._jobs.objects.get((self._namespace, name))
        if found is None:
            return None
        job = TrainingJob.model_validate(found)
        reference = job.status.model_version_ref
        version = self.version(reference.name) if reference is not None else None
        outcome = outcome_of(job, version)
        if outcome is None or not outcome.succeeded:
            return outcome
        return outcome if version is not None and is_served(version) else None

    def _in_production(self, other_than: str | None) -> ModelVersion | None:
        for (namespace, name), obj in self._versions.objects.items():
            if namespace != self._namespace or obj["spec"].get("modelName") != self._name:
                continue
            if obj["spec"].get("version") != other_than:
                version = self.version(name)
                if version is not None and version.status.phase == "Production" and is_served(version):
                    return version
        return None

    async def _until(self, observe: Callable[[], T | None], what: str) -> T:
        try:
            async with asyncio.timeout(self._patience):
                while (found := observe()) is None:
                    await self._changed.wait()
                    self._changed.clear()
                return found
        except TimeoutError:
            raise ReplayError(f"within {self._patience:.0f} s there was no {what}") from None


def is_served(version: ModelVersion) -> bool:
    """Whether the Service of its model leads to a version."""
    served = condition(version.status.conditions, "Serving")
    return served is not None and served.status == "True" and served.reason == "Serving"
