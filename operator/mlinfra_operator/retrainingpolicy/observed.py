"""What is observed of a RetrainingPolicy: its TrainingJobs, and what its monitors say. Plain values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlinfra.resources.names import (
    EVIDENCE_ANNOTATION,
    POLICY_GENERATION_ANNOTATION,
    TRIGGER_ANNOTATION,
    TRIGGER_KEY_ANNOTATION,
)
from mlinfra.retraining.triggers import MonitorResult, RetrainingTrigger
from mlinfra_operator.monitor_evidence import events_until
from mlinfra_operator.retrainingpolicy.promotions import Production

OUTCOMES = ("Succeeded", "Failed")
REFUSED_PHASES = ("GatesFailed", "Rejected")
STAGES = ("Production", "Staging")


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
        generation: of the policy when it created it; None where nobody knows.
        promoted: whether its version got its stage; None while that is open, or nobody knows.
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
    generation: int | None = None
    promoted: bool | None = None

    @property
    def active(self) -> bool:
        return self.outcome is None and not self.deleting


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the API server did not create a TrainingJob.

    Attributes:
        key: of the request that it was to answer.
        foreign: whether another object has its name.
        final: whether it is refused until a person changes something.
    """

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
        promoted: as of a Child, by the name of its TrainingJob, of versions whose TrainingJob may be gone.
        rolled_back: whether the rollback that was planned is carried out.
        refusals: the answers to the creations of TrainingJobs that were refused.
    """

    children: tuple[Child, ...] = ()
    monitors: tuple[MonitorResult, ...] = ()
    checked_at: datetime | None = None
    checked_for: str | None = None
    production: Production | None = None
    promoted: Mapping[str, bool] = field(default_factory=dict)
    rolled_back: bool = False
    refusals: tuple[Refusal, ...] = ()


def child_of(obj: Mapping[str, Any], version: Mapping[str, Any] | None = None) -> Child:
    """A TrainingJob that the policy created.

    Args:
        obj: its API object.
        version: that of the ModelVersion that came out of it; None where there is none.
    """
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
        generation=_number(annotations.get(POLICY_GENERATION_ANNOTATION)),
        promoted=was_promoted(version) if version is not None else None,
    )


def version_name(obj: Mapping[str, Any]) -> str | None:
    """Name of the ModelVersion that came out of a TrainingJob."""
    reference = (obj.get("status") or {}).get("modelVersionRef") or {}
    name: str | None = reference.get("name")
    return name


def was_promoted(version: Mapping[str, Any]) -> bool | None:
    """Whether a ModelVersion got a stage, or was not good enough for one; None while that is open."""
    status = version.get("status") or {}
    stages = [change.get("stage") for change in status.get("history") or ()]
    if "productionClaimedAt" in status or any(stage in STAGES for stage in (status.get("phase"), *stages)):
        return True
    return False if status.get("phase") in REFUSED_PHASES else None


def promoted_by_training(policy: str, versions: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """Whether the versions of a policy's trainings got their stage, by the names of the TrainingJobs.

    Args:
        policy: its name.
        versions: API objects of the ModelVersions of its namespace; what is open is left out.
    """
    found: dict[str, bool] = {}
    for version in sorted(versions, key=lambda each: int(each["spec"].get("version", 0))):
        source = version["spec"].get("source") or {}
        name, promoted = source.get("trainingJob"), was_promoted(version)
        if source.get("retrainingPolicy") != policy or name is None:
            continue
        # A later training of the same name counts, although its version is open.
        found.pop(name, None)
        if promoted is not None:
            found[name] = promoted
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and text.isascii() else None


def is_owned(obj: Mapping[str, Any], uid: str) -> bool:
    """Whether a TrainingJob belongs to the policy of that UID."""
    return any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences") or ())
