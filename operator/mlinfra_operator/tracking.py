"""What the operator knows of MLflow: runs, logged models, registered versions. Plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlinfra.resources.promotion import Stage

RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
FinalStatus = Literal["FINISHED", "FAILED", "KILLED"]
END_OF_PHASE: dict[str, FinalStatus] = {"Succeeded": "FINISHED", "Failed": "FAILED"}
"""How the run of a TrainingJob that came to its end has to end."""


@dataclass(frozen=True, slots=True)
class Run:
    """An MLflow run; metrics are the latest values."""

    run_id: str
    experiment_id: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)


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
