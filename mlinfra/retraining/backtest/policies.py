"""The policies that a backtest tries: RetrainingPolicy manifests, their specs, or built-in ones by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from mlinfra.resources.monitoring import DriftPolicy, MonitoringWindow
from mlinfra.resources.retraining_policy import (
    FOREIGN_MODEL,
    RetrainingPolicy,
    RetrainingPolicySpec,
    TrainingJobTemplate,
)
from mlinfra.retraining.decision import Limits
from mlinfra.retraining.observation import ObservationRule
from mlinfra.retraining.schedule import Schedule, parse_schedule
from mlinfra.training.config import InvalidConfigError
from mlinfra.training.config_file import ConfigFile, mistakes, read_config_file

BUILT_IN = ("never", "scheduled", "drift", "performance", "both")


class ReplayedPolicy(RetrainingPolicySpec):
    """A RetrainingPolicy's spec, checked as the API server checks it; model and template may be absent.

    Where monitors are asked and how many trainings are kept means nothing to a backtest.
    """

    model_name: str = ""
    training_job_template: TrainingJobTemplate | None = None  # type: ignore[assignment]

    @model_validator(mode="after")
    def _trains_its_own_model(self) -> "ReplayedPolicy":
        template = self.training_job_template
        if template is not None and self.model_name not in ("", template.spec.model_name):
            raise ValueError(FOREIGN_MODEL)
        return self


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy under the name that the backtest tells it by."""

    name: str
    spec: ReplayedPolicy
    schedule: Schedule | None

    @property
    def limits(self) -> Limits:
        """What it allows."""
        return Limits(
            concurrency=self.spec.concurrency_policy,
            cooldown=timedelta(seconds=self.spec.cooldown_seconds),
            max_runs_per_day=self.spec.max_runs_per_day,
            max_backoff_factor=self.spec.max_backoff_factor,
        )

    @property
    def observation(self) -> ObservationRule | None:
        """How a new version is watched; None where it is not."""
        rollback = self.spec.rollback
        if rollback is None:
            return None
        return ObservationRule(timedelta(seconds=rollback.observation_seconds), rollback.max_loss)


def policy_of(name: str, spec: Mapping[str, Any], file: ConfigFile | None = None) -> Policy:
    """A policy from its spec, and the file that has it.

    Raises:
        InvalidConfigError: a field is unknown or wrong; a line each, with file and line.
        InvalidScheduleError: the schedule is none.
    """
    try:
        checked = ReplayedPolicy.model_validate(dict(spec), by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidConfigError("\n".join(mistakes(error, ReplayedPolicy, file))) from error
    schedule = parse_schedule(checked.schedule, checked.time_zone) if checked.schedule else None
    return Policy(name, checked, schedule)


def load_policy(source: str, *, window: MonitoringWindow | None = None) -> Policy:
    """The policy of a file, or the built-in one of that name.

    Args:
        source: a YAML file with a RetrainingPolicy or its spec, or one of `BUILT_IN`.
        window: of the built-in ones' checks.

    Raises:
        InvalidConfigError: there is no such file, or it holds no policy.
        InvalidScheduleError: the schedule is none.
    """
    if source in BUILT_IN:
        return built_in(source, window=window)
    path = Path(source)
    try:
        file = read_config_file(path, RetrainingPolicy)
    except InvalidConfigError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise InvalidConfigError(
            f"--policy {error} Give a YAML file with a RetrainingPolicy or its spec, or one of: "
            f"{', '.join(BUILT_IN)}."
        ) from error
    return policy_of(str(file.metadata.get("name") or path.stem), file.spec, file)


def built_in(name: str, *, window: MonitoringWindow | None = None) -> Policy:
    """A policy that is compared with: only its triggers differ from the defaults.

    ``never`` trains no more; ``scheduled`` each year; ``drift`` on drift alone; ``performance`` on a loss of
    performance; ``both`` watches both, and drift starts an evaluation.
    """
    sections: dict[str, dict[str, Any]] = {
        "never": {},
        "scheduled": {"schedule": "@yearly"},
        "drift": {"drift": {"onBreach": "Retrain"}},
        "performance": {"performance": {}},
        "both": {"drift": {}, "performance": {}},
    }
    spec = sections[name]
    if window is not None:
        windows: dict[str, Any] = {"window": window.to_wire()}
        if window.rows is not None:
            # A window has about as many rows, and the labels of its last ones come late.
            windows["minSamples"] = min(max(window.rows // 2, 1), DriftPolicy().min_samples)
        for check in ("drift", "performance"):
            if check in spec:
                spec[check] |= windows
    return policy_of(name, spec)
