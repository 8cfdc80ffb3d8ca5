"""What is observed of a RetrainingPolicy: its TrainingJobs, and what its monitors say. Plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlinfra.resources.names import EVIDENCE_ANNOTATION, TRIGGER_ANNOTATION, TRIGGER_KEY_ANNOTATION
from mlinfra.retraining.triggers import MonitorResult, RetrainingTrigger
from mlinfra_operator.monitor_evidence import events_until
from mlinfra_operator.retrainingpolicy.promotions import Production

OUTCOMES = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Child:
    """A TrainingJob of the policy.

    Attributes:
        trigger, key: what asked for it.
        created: when it was created.
        outcome: Succeeded or Failed; None while it has not come to its end.
        completed: when it did, RFC 3339.
        deleting: whether it is being deleted.
        events_until: end of the newest window of the evidence that asked for it; None where no monitor did.
    """

    name: str
    uid: str
    trigger: RetrainingTrigger
    key: str
    created: datetime
    outcome: str | None = None
    completed: str | None = None
    deleting: bool = False
    events_until: datetime | None = None

    @property
    def active(self) -> bool:
        return self.outcome is None and not self.deleting


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the API server did not create a TrainingJob; ``foreign`` where another object has its name."""

    key: str
    message: str
    foreign: bool = False
    final: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a plan decides on.

    Attributes:
        children: the policy's TrainingJobs.
        monitors: the newest results of its drift and performance checks.
        checked_at: when they were asked for; None where nothing was asked yet.
        checked_for: the annotation's value that asked for them; None where none did.
        production: the version in Production.
        rolled_back: whether the rollback that was planned is carried out.
        refusal: the answer to the creation of a TrainingJob, where it was refused.
    """

    children: tuple[Child, ...] = ()
    monitors: tuple[MonitorResult, ...] = ()
    checked_at: datetime | None = None
    checked_for: str | None = None
    production: Production | None = None
    rolled_back: bool = False
    refusal: Refusal | None = None


def child_of(obj: Mapping[str, Any]) -> Child:
    """A TrainingJob that the policy created, from its API object."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    annotations = metadata.get("annotations") or {}
    trigger = annotations.get(TRIGGER_ANNOTATION)
    phase = status.get("phase")
    return Child(
        name=metadata["name"],
        uid=metadata["uid"],
        # A person may have taken the annotation off: a training nevertheless counts against the limits.
        trigger=RetrainingTrigger(trigger) if trigger in set(RetrainingTrigger) else RetrainingTrigger.MANUAL,
        key=annotations.get(TRIGGER_KEY_ANNOTATION, ""),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        outcome=phase if phase in OUTCOMES else None,
        completed=status.get("completionTime"),
        deleting="deletionTimestamp" in metadata,
        events_until=events_until(annotations.get(EVIDENCE_ANNOTATION)),
    )


def is_owned(obj: Mapping[str, Any], uid: str) -> bool:
    """Whether a TrainingJob belongs to the policy of that UID."""
    return any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences") or ())
