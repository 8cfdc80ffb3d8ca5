"""What follows the end of a TrainingJob: in time its deletion, and nothing else. Pure."""

from datetime import datetime

from mlinfra.resources import TrainingJob
from mlinfra.resources.base import ObjectMeta
from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.resources.training_job_status import TrainingJobStatus
from mlinfra_operator.runtime.cache import Object
from mlinfra_operator.runtime.invalid import read
from mlinfra_operator.trainingjob.actions import DeleteTrainingJob, Plan

TERMINAL_PHASES = ("Succeeded", "Failed")
LONGEST_SLEEP_SECONDS = 3600.0
"""A clock that is set anew must not put off a deletion for longer."""


def is_terminal(job: TrainingJob) -> bool:
    """Whether the TrainingJob came to its end: it stays as it is then."""
    return job.status.phase in TERMINAL_PHASES


def ended(obj: Object) -> TrainingJob | None:
    """A TrainingJob whose spec cannot be read and that came to its end: what follows needs little of it.

    None where it did not, or where its status cannot be read either.
    """
    spec = TrainingJobSpec.model_construct(
        model_name=obj["spec"].get("modelName", ""),
        ttl_seconds_after_finished=obj["spec"].get("ttlSecondsAfterFinished"),
    )
    status = read(TrainingJobStatus, obj.get("status") or {})
    if status is None or status.phase not in TERMINAL_PHASES:
        return None
    return TrainingJob.model_construct(
        metadata=ObjectMeta.model_validate(obj["metadata"]), spec=spec, status=status
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
