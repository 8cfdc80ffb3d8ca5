"""What a pipeline watches, and when it trains."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import TypeAdapter, ValidationError

from mlinfra.errors import InvalidInputError
from mlinfra.resources.model_name import ModelName
from mlinfra.resources.monitoring import DriftPolicy, MonitoringWindow, PerformancePolicy
from mlinfra.resources.retraining_policy import MAX_BACKOFF_FACTOR, MOST_BACKOFF_FACTOR
from mlinfra.retraining.decision import Limits
from mlinfra.retraining.observation import ObservationRule
from mlinfra.retraining.schedule import Schedule, parse_schedule

DEFAULT_MODEL = "hybrid_cnn_lstm"


class InvalidRetrainingConfigError(InvalidInputError):
    """A field of the configuration is wrong; the message names it."""

    reason: ClassVar[str] = "InvalidRetrainingConfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingConfig:
    """What a `RetrainingPipeline` watches, and when it trains.

    Attributes:
        enable_scheduled: whether it trains by the clock.
        retraining_interval_hours: from one scheduled training to the next.
        schedule: cron expression, such as ``0 3 * * *``, in place of the interval.
        time_zone: that the schedule is read in; UTC where absent.
        enable_drift_trigger: whether it watches what the model is asked.
        drift_threshold: PSI above which a feature drifts; calibrated on the reference where None.
        on_drift: ``Evaluate`` trains only where the model also lost performance, ``Retrain`` at once.
        enable_performance_trigger: whether it watches how good the answers are.
        performance_metric: measure of the answers, as training names it without ``test_``.
        performance_threshold: what that must not be worse than, accuracy not of a new version either;
            where None a loss of 0.05 against its training decides.
        auto_promote_to_production: whether a version that is good enough takes Production.
        model_name: the registered model.
        server_url: the model's server, whose monitors are asked.
        check_interval_seconds: from one check to the next.
        window_rows: predictions that one check looks at.
        min_samples: a window of fewer is inconclusive; half a window, at most 100, where None.
        cooldown_hours: the least time from the start of one training to the next.
        max_runs_per_day: the most trainings in any 24 hours.
        max_backoff_factor: after the second training in a row whose version was not good enough, and each
            more, drift and performance wait twice as long, at most so many times as long.
        rollback_observation_hours: how long a version is watched that a training brought to Production:
            where it does worse than the one before did, that one comes back; None for never.
        rollback_max_loss: by how much worse, beyond what chance explains.
        log_folder: where the log and the state of the pipeline are kept.

    Raises:
        InvalidRetrainingConfigError: a value is out of its bounds.
    """

    enable_scheduled: bool = True
    retraining_interval_hours: float = 24
    schedule: str | None = None
    time_zone: str | None = None
    enable_drift_trigger: bool = True
    drift_threshold: float | None = 0.15
    on_drift: Literal["Evaluate", "Retrain"] = "Evaluate"
    enable_performance_trigger: bool = True
    performance_metric: str = "accuracy"
    performance_threshold: float | None = 0.75
    auto_promote_to_production: bool = True
    model_name: str = DEFAULT_MODEL
    server_url: str = "http://127.0.0.1:8080"
    check_interval_seconds: float = 300
    window_rows: int = 1000
    min_samples: int | None = None
    cooldown_hours: float = 0
    max_runs_per_day: int | None = None
    max_backoff_factor: int = MAX_BACKOFF_FACTOR
    rollback_observation_hours: float | None = None
    rollback_max_loss: float = 0.02
    log_folder: Path = Path("logs") / "retraining"

    def __post_init__(self) -> None:
        for name in ("retraining_interval_hours", "check_interval_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InvalidRetrainingConfigError(
                    f"{name} must be more than 0, and is {getattr(self, name)}"
                )
        if not 0 <= self.cooldown_hours < float("inf"):
            raise InvalidRetrainingConfigError(f"cooldown_hours must not be below 0: {self.cooldown_hours}")
        if self.max_runs_per_day is not None and self.max_runs_per_day < 1:
            raise InvalidRetrainingConfigError(
                f"max_runs_per_day must be 1 at least: {self.max_runs_per_day}"
            )
        if self.rollback_observation_hours is not None:
            if not 0 < self.rollback_observation_hours < float("inf"):
                raise InvalidRetrainingConfigError(
                    "rollback_observation_hours must be more than 0, and is "
                    f"{self.rollback_observation_hours}"
                )
            if not self.enable_performance_trigger:
                raise InvalidRetrainingConfigError(
                    "rollback_observation_hours compares performance: set enable_performance_trigger as well"
                )
        if not 0 <= self.rollback_max_loss < float("inf"):
            raise InvalidRetrainingConfigError(
                f"rollback_max_loss must not be below 0: {self.rollback_max_loss}"
            )
        if not 1 <= self.max_backoff_factor <= MOST_BACKOFF_FACTOR:
            raise InvalidRetrainingConfigError(
                f"max_backoff_factor is between 1 and {MOST_BACKOFF_FACTOR}, and is {self.max_backoff_factor}"
            )
        if not 0 <= self.least_accuracy <= 1:
            raise InvalidRetrainingConfigError(
                f"performance_threshold of accuracy is between 0 and 1, and is {self.performance_threshold}"
            )
        try:
            TypeAdapter(ModelName).validate_python(self.model_name)
            _ = self.drift, self.performance
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "model_name"
            raise InvalidRetrainingConfigError(f"{field}: {first['msg']}, got {first['input']!r}") from error
        if self.schedule is not None:
            parse_schedule(self.schedule, self.time_zone)

    @property
    def drift(self) -> DriftPolicy | None:
        """How drift is checked; None where it is not."""
        if not self.enable_drift_trigger:
            return None
        return DriftPolicy(threshold=self.drift_threshold, on_breach=self.on_drift, **self._windows())

    @property
    def performance(self) -> PerformancePolicy | None:
        """How performance is checked; None where it is not."""
        if not self.enable_performance_trigger:
            return None
        return PerformancePolicy(
            metric=self.performance_metric, threshold=self.performance_threshold, **self._windows()
        )

    @property
    def least_accuracy(self) -> float:
        """What a new version's test accuracy must reach."""
        return (self.performance_threshold or 0.0) if self.performance_metric == "accuracy" else 0.0

    @property
    def cron(self) -> Schedule | None:
        """The schedule; None where the interval counts, or nothing is scheduled."""
        if not self.enable_scheduled or self.schedule is None:
            return None
        return parse_schedule(self.schedule, self.time_zone)

    @property
    def interval(self) -> timedelta:
        """From one scheduled training to the next, where there is no cron expression."""
        return timedelta(hours=self.retraining_interval_hours)

    @property
    def limits(self) -> Limits:
        """What is allowed."""
        return Limits(
            cooldown=timedelta(hours=self.cooldown_hours),
            max_runs_per_day=self.max_runs_per_day,
            max_backoff_factor=self.max_backoff_factor,
        )

    @property
    def observation(self) -> ObservationRule | None:
        """How a new version is watched; None where it is not."""
        if self.rollback_observation_hours is None:
            return None
        return ObservationRule(timedelta(hours=self.rollback_observation_hours), self.rollback_max_loss)

    def to_wire(self) -> dict[str, Any]:
        """As JSON, under the names of the attributes."""
        return asdict(self) | {"log_folder": str(self.log_folder)}

    def _windows(self) -> dict[str, Any]:
        least = self.min_samples or min(100, max(self.window_rows // 2, 1))
        return {"window": MonitoringWindow(rows=self.window_rows), "min_samples": least}
