"""What follows the end of a TrainingJob: in time its deletion, and nothing else. Pure."""

from datetime import datetime

from mlinfra.resources import TrainingJob
from mlinfra.resources.base import ObjectMeta
from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.resources.training_job_status import TrainingJobStatus
from mlinfra_operator.runtime.cache import Object
from mlinfra_operator.trainingjob.actions import DeleteTrainingJob, Plan

TERMINAL_PHASES = ("Succeeded", "Failed")
LONGEST_SLEEP_SECONDS = 3600.0
"""A clock that is set anew must not put off a deletion for longer."""


def is_terminal(job: TrainingJob) -> bool:
    """Whether the TrainingJob came to its end: it stays as it is then."""
    return job.status.phase in TERMINAL_PHASES


def has_ended(obj: Object) -> bool:
    """As `is_terminal`, of an object as the API server has it."""
    return (obj.get("status") or {}).get("phase") in TERMINAL_PHASES


def ended(obj: Object) -> TrainingJob:
    """A TrainingJob that came to its end and whose spec cannot be read: what follows needs little of it."""
    told = obj["spec"]
    spec = TrainingJobSpec.model_construct(
        model_name=told.get("modelName", ""), ttl_seconds_after_finished=told.get("ttlSecondsAfterFinished")
    )
    return TrainingJob.model_construct(
        metadata=ObjectMeta.model_validate(obj["metadata"]),
        spec=spec,
        status=TrainingJobStatus.model_validate(obj["status"]),
    )


def after_the_end(job: TrainingJob, now: datetime) -> Plan:
    """The next step of a TrainingJob that came to its end."""
    status = _of_generation(job.status, job.metadata.generation)
    ttl, completed = job.spec.ttl_seconds_after_finished, job.status.completion_time
    if ttl is None or completed is None:
        return Plan(status)
    left = (datetime.fromisoformat(completed) - now).total_seconds() + ttl
    if left > 0:
        return Plan(status, requeue_after=min(left, LONGEST_SLEEP_SECONDS))
    return Plan(status, actions=(DeleteTrainingJob(),))


def _of_generation(status: TrainingJobStatus, generation: int) -> TrainingJobStatus:
    """The same status, told of the latest spec: those who wait until it is seen wait no longer."""
    if status.observed_generation == generation:
        return status
    told = [
        condition.model_copy(update={"observed_generation": generation}) for condition in status.conditions
    ]
    return status.model_copy(update={"observed_generation": generation, "conditions": told})
