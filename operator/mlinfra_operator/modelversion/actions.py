"""What is done about a ModelVersion."""

from dataclasses import dataclass

from mlinfra.resources.model_version import ModelVersionStatus, Stage
from mlinfra_operator.conditions import Event


@dataclass(frozen=True, slots=True)
class ReadRegistry:
    """Read the registered model and its versions."""


@dataclass(frozen=True, slots=True)
class ReadMetrics:
    """Read the final metrics of the version's run."""

    run_id: str


@dataclass(frozen=True, slots=True)
class FollowStage:
    """Bring the version to a stage in MLflow; ``demoted`` versions leave Production for it."""

    stage: Stage
    demoted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ArchiveSpec:
    """Ask for Archived in the spec, in place of the stage that the operator asked for."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the ModelVersion, once somebody deletes it, until its version is deleted in MLflow."""


@dataclass(frozen=True, slots=True)
class DeleteVersion:
    """Delete the version in MLflow."""


@dataclass(frozen=True, slots=True)
class Release:
    """Let the ModelVersion go, and tell what became of its version."""

    event: Event | None = None


Action = ReadRegistry | ReadMetrics | FollowStage | ArchiveSpec | Hold | DeleteVersion | Release


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do next, or where there is nothing more to do now, what to tell; as for a TrainingJob.

    Attributes:
        awaits_others: whether it is for the model's other versions to move first.
    """

    status: ModelVersionStatus
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    retry: bool = False
    requeue_after: float | None = None
    awaits_others: bool = False
