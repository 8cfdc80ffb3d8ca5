"""What a plan may ask the controller to do.

Each action is idempotent: it may be asked for again after a lost answer.
"""

from dataclasses import dataclass

from mlinfra.resources.training_job_status import TrainingJobStatus
from mlinfra_operator.conditions import Event
from mlinfra_operator.tracking import Finish


@dataclass(frozen=True, slots=True)
class FindOwner:
    """Which namespace owns the registered model?"""


@dataclass(frozen=True, slots=True)
class EnsureRun:
    """Find the run of this TrainingJob's UID, or create it."""


@dataclass(frozen=True, slots=True)
class ReadRun:
    """Read the run anew."""

    run_id: str


@dataclass(frozen=True, slots=True)
class CreateChild:
    """Create the child Job, or find the one of its name."""

    run_id: str


@dataclass(frozen=True, slots=True)
class RestorePeerService:
    """Make the Service by which the pods find each other, which somebody has deleted."""


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Delete this very child Job, after its pods."""

    uid: str


@dataclass(frozen=True, slots=True)
class DeleteTrainingJob:
    """Delete the TrainingJob itself."""


@dataclass(frozen=True, slots=True)
class ListPods:
    """List the child Job's pods."""


@dataclass(frozen=True, slots=True)
class ReadModels:
    """Which models did the run log?"""

    run_id: str


@dataclass(frozen=True, slots=True)
class RegisterVersion:
    """Register the model as a version, or find the version registered for this UID."""

    run_id: str
    model_id: str


@dataclass(frozen=True, slots=True)
class CreateModelVersion:
    """Create the ModelVersion, or find the one of its name."""

    version: str
    run_id: str


Action = (
    FindOwner
    | EnsureRun
    | ReadRun
    | CreateChild
    | RestorePeerService
    | DeleteChild
    | DeleteTrainingJob
    | ListPods
    | ReadModels
    | RegisterVersion
    | CreateModelVersion
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do next, or where there is nothing more to do now, what to tell.

    Attributes:
        actions: to be carried out in order; then the plan is made anew.
        status: the status to write.
        events: to post once the status is written.
        finish: a run that has to end.
        retry: whether to try again with a growing delay.
        requeue_after: seconds after which to look again.
    """

    status: TrainingJobStatus
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    finish: Finish | None = None
    retry: bool = False
    requeue_after: float | None = None
