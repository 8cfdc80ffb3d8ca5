"""Where a TrainingJob came from: its RetrainingPolicy, what asked for it, and its rows. Pure."""

from collections.abc import Iterable
from typing import cast, get_args

from mlinfra.resources import TrainingJob
from mlinfra.resources.base import ObjectMeta
from mlinfra.resources.names import (
    EVIDENCE_ANNOTATION,
    RETRAINING_POLICY_LABEL,
    TRIGGER_ANNOTATION,
    TRIGGER_MESSAGE_ANNOTATION,
)
from mlinfra.resources.retraining_policy_status import Trigger
from mlinfra.resources.training_job_status import MAX_SNAPSHOT_LENGTH, Lineage
from mlinfra.tracking.contract import FEATURE_SNAPSHOT_TAG
from mlinfra_operator.monitor_evidence import of_annotation
from mlinfra_operator.tracking import Run
from mlinfra_operator.trainingjob.observed import PodFacts, image_digest

MAX_MESSAGE_LENGTH = 1000
TRIGGERS = get_args(Trigger)


def origin_of(metadata: ObjectMeta) -> tuple[str | None, Trigger | None]:
    """The policy's name and the trigger; None where a person applied the TrainingJob."""
    trigger = metadata.annotations.get(TRIGGER_ANNOTATION)
    return metadata.labels.get(RETRAINING_POLICY_LABEL), cast(
        "Trigger | None", trigger if trigger in TRIGGERS else None
    )


def lineage_of(job: TrainingJob, run: Run | None, pods: Iterable[PodFacts] | None) -> Lineage | None:
    """What is known of a training's origin; None where nothing is.

    Args:
        job: the TrainingJob with its latest status.
        run: its run; None where it is not known now, and what the status told stays.
        pods: its pods; as for the run.
    """
    policy, trigger = origin_of(job.metadata)
    old = job.status.lineage
    snapshot = run.tags.get(FEATURE_SNAPSHOT_TAG) if run is not None else None
    # Any process may write this tag; what no resource can hold is no snapshot's ID.
    if not snapshot or len(snapshot) > MAX_SNAPSHOT_LENGTH:
        snapshot = old.feature_snapshot if old is not None else None
    digest = image_digest(pods or ()) or (old.image_digest if old is not None else None)
    if snapshot is None and digest is None and policy is None and trigger is None:
        return None
    annotations = job.metadata.annotations
    return Lineage(
        feature_snapshot=snapshot,
        image_digest=digest,
        retraining_policy=policy,
        trigger=trigger,
        message=annotations.get(TRIGGER_MESSAGE_ANNOTATION, "")[:MAX_MESSAGE_LENGTH] or None,
        evidence=of_annotation(annotations.get(EVIDENCE_ANNOTATION)) or None,
    )
