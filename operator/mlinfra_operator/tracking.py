"""What the operator knows of MLflow: runs, logged models, registered versions. Plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mlinfra.resources.promotion import Stage

RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
FinalStatus = Literal["FINISHED", "FAILED", "KILLED"]
END_OF_PHASE: dict[str, FinalStatus] = {"Succeeded": "FINISHED", "Failed": "FAILED"}
"""How the run of a TrainingJob that came to its end has to end."""
MOST_POINTS = 6
"""Of one run's way that are remembered."""


@dataclass(frozen=True, slots=True)
class Point:
    """How many epochs or steps a run had logged when, in milliseconds since 1970."""

    count: float
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Run:
    """An MLflow run.

    Attributes:
        metrics: the latest values.
        epochs: by its metric of that name, the newest last.
        steps: the greatest at which a metric was logged, likewise.
    """

    run_id: str
    experiment_id: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    epochs: tuple[Point, ...] = ()
    steps: tuple[Point, ...] = ()


def reread(before: Run, now: Run) -> Run:
    """A run that was read again, with the points of its way that were seen before."""
    return replace(
        now, epochs=_continued(before.epochs, now.epochs), steps=_continued(before.steps, now.steps)
    )


def _continued(before: tuple[Point, ...], now: tuple[Point, ...]) -> tuple[Point, ...]:
    if not before or not now:
        return now
    last, newest = before[-1], now[-1]
    if newest.count == last.count:
        # It was there when it was first seen: what is logged afterwards is no part of the way.
        return before
    if newest.count < last.count or newest.milliseconds <= last.milliseconds:
        # Another attempt began anew.
        return now
    return (*before, newest)[-MOST_POINTS:]


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model that a run logged; ``status`` is READY once it is whole."""

    model_id: str
    name: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelOwner:
    """Which namespace owns a registered model; None where the model or its owner is absent."""

    namespace: str | None


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version in MLflow's registry; ``stage`` is the effective one, ``mlflow_stage`` MLflow's own."""

    version: str
    stage: Stage
    mlflow_stage: str
    aliases: tuple[str, ...] = ()
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A registered model with all its versions."""

    owner: ModelOwner
    versions: Mapping[str, RegisteredVersion]


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """A version of any registered model; ``owner`` is the namespace that owns the model, where one does."""

    model: str
    version: str
    owner: str | None
    run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something could not be measured: a CamelCase reason and a message for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """What a run measured.

    Attributes:
        champion: the version in Production that it measured beside its own.
        problem: why the run cannot be read; its metrics are what was known of it before.
        champion_problem: why the run could not measure the version in Production.
    """

    metrics: Mapping[str, float]
    champion: str | None = None
    problem: Problem | None = None
    champion_problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """A run that has to end, where it still runs."""

    run_id: str
    status: FinalStatus
