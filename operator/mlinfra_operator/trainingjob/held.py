"""A training whose Job is suspended: it waits in a queue, or had to make room for another. Pure.

Kueue alone starts and stops the Job of a training that names a queue, by `spec.suspend` of the Job, and may
change its pod template when it does. The operator only reads it.
"""

from dataclasses import dataclass

from mlinfra.resources import TrainingJob
from mlinfra_operator import conditions
from mlinfra_operator.conditions import Event
from mlinfra_operator.trainingjob.observed import ChildJob

QUEUED, EVICTED, ADMITTED = "Queued", "Evicted", "Admitted"
BEFORE_A_JOB = (None, "MLflowUnavailable", "WaitingForOldJob", "JobNotCreated")
"""Reasons of a training that is pending for want of a Job, not of pods."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a Job is suspended: a CamelCase reason and a message for people."""

    reason: str
    message: str


def hold_of(job: TrainingJob, child: ChildJob) -> Hold:
    """Why the Job is suspended, as far as its own history tells."""
    queue, name = job.spec.queue, job.metadata.name
    if queue is None:
        # With manageJobsWithoutQueueName Kueue also holds Jobs that name no queue.
        where, until = f"Job {name} was suspended by another", "until it lets the Job run"
    else:
        where, until = f"queue {queue.name}", "until Kueue admits the training"
    if not _was_admitted(job):
        return Hold(QUEUED, f"{where}: no pods run {until}")
    if child.active > 0:
        return Hold(EVICTED, f"{where}: the pods write a checkpoint and end")
    return Hold(EVICTED, f"{where}: the pods had to end, and none run {until} again")


def queue_events(job: TrainingJob, child: ChildJob | None, hold: Hold | None) -> tuple[Event, ...]:
    """What a person should be told when a training enters or leaves its queue."""
    old = job.status
    if hold is None:
        admitted = old.phase == "Queued" and child is not None and not child.held and not child.deleting
        return (Event("Normal", ADMITTED, "the Job may run"),) if admitted else ()
    told = old.phase == "Queued" and conditions.reason_of(old.conditions, "Reconciling") == hold.reason
    return () if told else (Event("Normal", hold.reason, hold.message),)


def _was_admitted(job: TrainingJob) -> bool:
    """Whether the Job ran before, since it was created last."""
    status = job.status
    reason = conditions.reason_of(status.conditions, "Reconciling")
    match status.phase:
        case "Running":
            return True
        case "Queued":
            return reason == EVICTED
        case "Pending":
            return reason not in BEFORE_A_JOB
        case _:
            return False
