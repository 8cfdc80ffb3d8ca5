"""What became of a training that a policy started, as its resources tell. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlinfra.resources import ModelVersion, TrainingJob
from mlinfra.resources.monitor_status import MonitorEvidence


@dataclass(frozen=True, slots=True)
class Retraining:
    """One training of a policy.

    Attributes:
        time: event time at which the policy asked for it.
        job: name of the TrainingJob.
        trigger, message: what asked for it, and why.
        drift, performance: scores of the monitors, whether they asked or not; None where one had none.
        old, new: the metric of the version in Production and of the new one, on the same newest rows.
        version: number of the new version; None where none came out.
        promoted: whether it took Production.
        reason: why, or why not.
        seconds: from the request until the version answered, or was refused.
    """

    time: datetime
    job: str
    trigger: str
    message: str
    drift: float | None
    performance: float | None
    old: float | None
    new: float | None
    version: str | None
    promoted: bool
    reason: str
    seconds: float


def retraining_of(
    job: TrainingJob,
    version: ModelVersion | None,
    said: Sequence[MonitorEvidence] = (),
    *,
    promoted: bool,
    reason: str,
    time: datetime,
    seconds: float,
) -> Retraining:
    """A training that has come to its end.

    Args:
        job: the TrainingJob.
        version: what came out of it; None where nothing did.
        said: what the policy's monitors said when it was asked for; the job tells of those that asked alone.
        promoted: whether it took Production.
        reason: why, or why not.
        time: event time at which it was asked for.
        seconds: how long it took.
    """
    lineage = job.status.lineage
    evidence = [*((lineage.evidence or []) if lineage is not None else []), *said]
    compared = next((each for each in version.status.gates if each.champion_value), None) if version else None
    return Retraining(
        time=time,
        job=job.metadata.name,
        trigger=(lineage.trigger if lineage is not None else None) or "",
        message=(lineage.message if lineage is not None else None) or "",
        drift=_score(evidence, "drift"),
        performance=_score(evidence, "performance"),
        old=_number(compared.champion_value) if compared is not None else None,
        new=_number(compared.value) if compared is not None else None,
        version=version.spec.version if version is not None else None,
        promoted=promoted,
        reason=reason,
        seconds=seconds,
    )


def _score(evidence: list[MonitorEvidence], trigger: str) -> float | None:
    return next((_number(each.score) for each in evidence if each.trigger == trigger), None)


def _number(text: str | None) -> float | None:
    return float(text) if text is not None else None
