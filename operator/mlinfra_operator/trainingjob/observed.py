"""What is observed of a TrainingJob: its child Job, pods, run and result. Plain values from API objects."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlinfra.resources.model_version import ModelVersion
from mlinfra.resources.names import SPEC_STAMP_ANNOTATION, TRAINING_JOB_LABEL
from mlinfra.resources.training_job import TrainingJob
from mlinfra_operator.tracking import LoggedModel, ModelOwner, Run

CONTAINER = "trainer"
DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")


@dataclass(frozen=True, slots=True)
class ChildJob:
    """A batch/v1 Job.

    Attributes:
        held: whether it is suspended, which is for a queue to decide and never for the operator.
        stamp: of the spec that it was made of.
        terminating: pods that are being deleted and have not ended; they are not active.
        failure: (reason, message) once it failed for good.
    """

    uid: str
    owner_uid: str | None
    training_job: str | None
    deleting: bool = False
    held: bool = False
    run_id: str | None = None
    stamp: str | None = None
    start_time: str | None = None
    active: int = 0
    terminating: int = 0
    ready: int = 0
    failed: int = 0
    succeeded: int = 0
    complete: bool = False
    failure: tuple[str, str] | None = None

    @property
    def started(self) -> int:
        """Pods that ran or run."""
        return self.failed + self.succeeded + self.ready


@dataclass(frozen=True, slots=True)
class Termination:
    """How the trainer container of a pod ended."""

    reason: str
    exit_code: int
    message: str
    finished_at: str


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod of a Job.

    Attributes:
        waiting: (reason, message) while something holds it up.
        image_digest: of the image that its trainer container runs, where the kubelet reports one.
        ends_by: of a pod that is being deleted, the end of its grace period.
    """

    name: str
    phase: str
    created: str
    termination: Termination | None = None
    waiting: tuple[str, str] | None = None
    image_digest: str | None = None
    node: str | None = None
    ends_by: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server's answer where it did not create the child Job, its Service or the ModelVersion."""

    status: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a plan decides on; None means not asked yet.

    Attributes:
        unavailable: why MLflow cannot be asked now.
        created_model_version: what exists under the name that the new ModelVersion takes.
        gang_offered: whether the API server offers PodGroups.
        lacks_service: whether the Service by which pods find each other is gone.
        unready_since: since when the active Job is seen without a ready pod, or with pods that have to end.
        started_at: when a pod was first seen to have started, where no status has told of it yet.
    """

    child: ChildJob | None = None
    refusal: Refusal | None = None
    model_owner: ModelOwner | None = None
    run: Run | None = None
    models: tuple[LoggedModel, ...] | None = None
    version: str | None = None
    registered_elsewhere: str | None = None
    created_model_version: ModelVersion | None = None
    pods: tuple[PodFacts, ...] | None = None
    unavailable: str | None = None
    refused: str | None = None
    unready_since: datetime | None = None
    started_at: datetime | None = None
    gang_offered: bool = False
    lacks_service: bool = False


def child_job(obj: Mapping[str, Any]) -> ChildJob:
    """The facts of a batch/v1 Job."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    owner = next((ref for ref in metadata.get("ownerReferences") or [] if ref.get("controller")), None)
    true = {
        condition["type"]: condition
        for condition in status.get("conditions") or []
        if condition["status"] == "True"
    }
    failed = true.get("Failed")
    return ChildJob(
        uid=metadata["uid"],
        owner_uid=owner["uid"] if owner and owner.get("kind") == TrainingJob.__name__ else None,
        training_job=(metadata.get("labels") or {}).get(TRAINING_JOB_LABEL),
        deleting="deletionTimestamp" in metadata,
        held=spec.get("suspend") is True,
        run_id=_environment(spec).get("MLFLOW_RUN_ID"),
        stamp=(metadata.get("annotations") or {}).get(SPEC_STAMP_ANNOTATION),
        start_time=status.get("startTime"),
        active=status.get("active") or 0,
        terminating=status.get("terminating") or 0,
        ready=status.get("ready") or 0,
        failed=status.get("failed") or 0,
        succeeded=status.get("succeeded") or 0,
        complete="Complete" in true,
        failure=(failed.get("reason") or "JobFailed", failed.get("message") or "") if failed else None,
    )


def pod_facts(obj: Mapping[str, Any]) -> PodFacts:
    """The facts of a pod."""
    status = obj.get("status") or {}
    container: Mapping[str, Any] = next(
        (item for item in status.get("containerStatuses") or [] if item["name"] == CONTAINER), {}
    )
    terminated = (container.get("state") or {}).get("terminated")
    metadata = obj["metadata"]
    return PodFacts(
        name=metadata["name"],
        phase=status.get("phase") or "Pending",
        created=metadata.get("creationTimestamp") or "",
        termination=_termination(terminated) if terminated else None,
        waiting=_waiting(status, (container.get("state") or {}).get("waiting")),
        image_digest=_digest(container.get("imageID") or ""),
        node=(obj.get("spec") or {}).get("nodeName"),
        ends_by=metadata.get("deletionTimestamp"),
    )


def image_digest(pods: Iterable[PodFacts]) -> str | None:
    """The digest of the image that a training ran: of a pod that ended well, else of the newest."""
    known = [pod for pod in pods if pod.image_digest is not None]
    newest = max(known, key=lambda pod: (pod.phase == "Succeeded", pod.created, pod.name), default=None)
    return newest.image_digest if newest is not None else None


def _digest(image_id: str) -> str | None:
    """Of ``name@sha256:...``, ``docker-pullable://name@sha256:...`` or ``sha256:...``."""
    found = DIGEST.search(image_id)
    return found[0] if found else None


def _environment(spec: Mapping[str, Any]) -> dict[str, str]:
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
    trainer: Mapping[str, Any] = next((item for item in containers if item["name"] == CONTAINER), {})
    return {item["name"]: item.get("value") or "" for item in trainer.get("env") or []}


def _termination(terminated: Mapping[str, Any]) -> Termination:
    return Termination(
        reason=terminated.get("reason") or "Error",
        exit_code=terminated.get("exitCode") or 0,
        message=terminated.get("message") or "",
        finished_at=terminated.get("finishedAt") or "",
    )


def _waiting(status: Mapping[str, Any], waiting: Mapping[str, Any] | None) -> tuple[str, str] | None:
    if waiting:
        return waiting.get("reason") or "Waiting", waiting.get("message") or ""
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return condition.get("reason") or "Unschedulable", condition.get("message") or ""
    return None
