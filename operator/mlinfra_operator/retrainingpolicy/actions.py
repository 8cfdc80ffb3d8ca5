"""What is done about a RetrainingPolicy."""

from dataclasses import dataclass

from mlinfra.resources.retraining_policy_status import RetrainingPolicyStatus
from mlinfra.retraining.triggers import Request
from mlinfra_operator.conditions import Event


@dataclass(frozen=True, slots=True)
class CreateTrainingJob:
    """Create the TrainingJob that answers a request, or find the one of its name."""

    request: Request


@dataclass(frozen=True, slots=True)
class DeleteTrainingJob:
    """Delete this very TrainingJob."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class RollBack:
    """Let a ModelVersion have Production again, in place of the one that has it."""

    current: str
    previous: str


Action = CreateTrainingJob | DeleteTrainingJob | RollBack


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do next, or where there is nothing more to do now, what to tell.

    Attributes:
        actions: to be carried out in order; then the plan is made anew.
        status: the status to write.
        events: to post once the status is written.
        retry: whether to try again with a growing delay.
        requeue_after: seconds after which to look again.
    """

    status: RetrainingPolicyStatus
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    retry: bool = False
    requeue_after: float | None = None
