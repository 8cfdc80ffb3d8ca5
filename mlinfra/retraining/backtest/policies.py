"""The policies that a backtest tries: RetrainingPolicy manifests, their specs, or built-in ones by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Field, JsonValue, ValidationError

from mlinfra.errors import InvalidInputError
from mlinfra.resources.base import Integer, ResourceModel
from mlinfra.resources.monitoring import DriftPolicy, MonitoringWindow, PerformancePolicy
from mlinfra.resources.retraining_policy import (
    MAX_BACKOFF_FACTOR,
    MOST_BACKOFF_FACTOR,
    TrainingJobTemplate,
)
from mlinfra.retraining.decision import Limits
from mlinfra.retraining.observation import ObservationRule
from mlinfra.retraining.schedule import Schedule, parse_schedule

BUILT_IN = ("never", "scheduled", "drift", "performance", "both")


class InvalidPolicyFile(InvalidInputError):
    """A policy file is none, or a field of it is wrong."""

    reason: ClassVar[str] = "InvalidPolicyFile"


class ReplayedRollback(ResourceModel):
    """As `rollback` of a RetrainingPolicy."""

    observation_seconds: Integer = 86_400
    max_loss: float = 0.02


class ReplayedPolicy(ResourceModel):
    """A RetrainingPolicy's spec; the template may be absent, and what cannot be replayed does not count."""

    model_name: str = ""
    training_job_template: TrainingJobTemplate | None = None
    drift: DriftPolicy | None = None
    performance: PerformancePolicy | None = None
    rollback: ReplayedRollback | None = None
    monitoring: JsonValue = None
    schedule: str | None = None
    time_zone: str | None = None
    starting_deadline_seconds: Integer | None = None
    suspend: bool = False
    concurrency_policy: Literal["Allow", "Forbid", "Replace"] = "Forbid"
    cooldown_seconds: Integer = 0
    max_runs_per_day: Integer | None = None
    max_backoff_factor: Annotated[Integer, Field(ge=1, le=MOST_BACKOFF_FACTOR)] = MAX_BACKOFF_FACTOR
    successful_jobs_history_limit: JsonValue = None
    failed_jobs_history_limit: JsonValue = None


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


def policy_of(name: str, spec: Mapping[str, Any]) -> Policy:
    """A policy from its spec.

    Raises:
        InvalidPolicyFile: a field is unknown or wrong.
        InvalidScheduleError: the schedule is none.
    """
    try:
        checked = ReplayedPolicy.model_validate(dict(spec))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidPolicyFile(
            f"policy {name}: {where}: {first['msg']}, got {first['input']!r:.80}"
        ) from error
    schedule = parse_schedule(checked.schedule, checked.time_zone) if checked.schedule else None
    return Policy(name, checked, schedule)


def load_policy(source: str, *, window: MonitoringWindow | None = None) -> Policy:
    """The policy of a file, or the built-in one of that name.

    Args:
        source: a YAML file with a RetrainingPolicy or its spec, or one of `BUILT_IN`.
        window: of the built-in ones' checks.

    Raises:
        InvalidPolicyFile: there is no such file, or it holds no policy.
    """
    if source in BUILT_IN:
        return built_in(source, window=window)
    path = Path(source)
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidPolicyFile(
            f"{source} cannot be read as a policy ({error}); give a YAML file with a RetrainingPolicy or its "
            f"spec, or one of: {', '.join(BUILT_IN)}"
        ) from error
    if not isinstance(content, Mapping):
        raise InvalidPolicyFile(f"{source} holds no RetrainingPolicy, but {type(content).__name__}")
    if "spec" in content:
        name = (content.get("metadata") or {}).get("name") or path.stem
        return policy_of(str(name), content["spec"] or {})
    return policy_of(path.stem, content)


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
