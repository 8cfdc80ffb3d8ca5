"""What a pipeline watches, and when it trains."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from mlinfra.errors import InvalidInputError, suggestion
from mlinfra.features.validation import mistakes
from mlinfra.resources.base import Integer
from mlinfra.resources.model_name import ModelName
from mlinfra.resources.monitoring import (
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    DriftPolicy,
    MonitoringWindow,
    PerformancePolicy,
)
from mlinfra.resources.retraining_policy import MAX_BACKOFF_FACTOR, MOST_BACKOFF_FACTOR
from mlinfra.retraining.decision import Limits
from mlinfra.retraining.observation import ObservationRule
from mlinfra.retraining.schedule import Schedule, parse_schedule

DEFAULT_MODEL = "hybrid_cnn_lstm"
MOST_HOURS = 10 * 365 * 24
"""Ten years: times that far away can still be reckoned with, 64 times as far as well."""
MOST_ROWS = 100_000_000


class InvalidRetrainingConfigError(InvalidInputError):
    """A field of the configuration is wrong; the message names it."""

    reason: ClassVar[str] = "InvalidRetrainingConfig"


def _metric(name: str) -> str:
    known = HIGHER_IS_BETTER | LOWER_IS_BETTER
    if name not in known:
        raise ValueError(f"there is no such measure; {suggestion(name, known)}")
    return name


class RetrainingConfig(BaseModel):
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
        InvalidRetrainingConfigError: there is no such field, or a value is out of its bounds.
        InvalidScheduleError: the schedule or the time zone is none.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    enable_scheduled: bool = True
    retraining_interval_hours: Annotated[float, Field(gt=0, le=MOST_HOURS)] = 24.0
    schedule: str | None = None
    time_zone: str | None = None
    enable_drift_trigger: bool = True
    drift_threshold: Annotated[float | None, Field(gt=0)] = 0.15
    on_drift: Literal["Evaluate", "Retrain"] = "Evaluate"
    enable_performance_trigger: bool = True
    performance_metric: Annotated[str, AfterValidator(_metric)] = "accuracy"
    performance_threshold: float | None = 0.75
    auto_promote_to_production: bool = True
    model_name: ModelName = DEFAULT_MODEL
    server_url: Annotated[str, Field(pattern=r"^https?://[^\s/]\S*$")] = "http://127.0.0.1:8080"
    check_interval_seconds: Annotated[float, Field(gt=0, le=MOST_HOURS * 3600)] = 300.0
    window_rows: Annotated[Integer, Field(ge=1, le=MOST_ROWS)] = 1000
    min_samples: Annotated[Integer | None, Field(ge=1, le=MOST_ROWS)] = None
    cooldown_hours: Annotated[float, Field(ge=0, le=MOST_HOURS)] = 0.0
    max_runs_per_day: Annotated[Integer | None, Field(ge=1)] = None
    max_backoff_factor: Annotated[Integer, Field(ge=1, le=MOST_BACKOFF_FACTOR)] = MAX_BACKOFF_FACTOR
    rollback_observation_hours: Annotated[float | None, Field(gt=0, le=MOST_HOURS)] = None
    rollback_max_loss: Annotated[float, Field(ge=0)] = 0.02
    log_folder: Annotated[Path, Field(strict=False)] = Path("logs") / "retraining"

    @model_validator(mode="wrap")
    @classmethod
    def _told_in_one_line(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            config = handler(values)
        except ValidationError as error:
            raise InvalidRetrainingConfigError(mistakes(error, known=cls.model_fields)) from error
        if (mistake := config._mistake()) is not None:
            raise InvalidRetrainingConfigError(mistake)
        if config.schedule is not None or config.time_zone is not None:
            parse_schedule(config.schedule or "@daily", config.time_zone)
        return config

    def _mistake(self) -> str | None:
        """What does not fit together."""
        if self.min_samples is not None and self.min_samples > self.window_rows:
            return (
                f"min_samples is {self.min_samples} and must not be more than window_rows, "
                f"{self.window_rows}: no window would ever be enough"
            )
        if not 0 <= self.least_accuracy <= 1:
            return (
                f"performance_threshold of accuracy is between 0 and 1, and is {self.performance_threshold}"
            )
        if self.rollback_observation_hours is not None and not self.enable_performance_trigger:
            return "rollback_observation_hours compares performance: set enable_performance_trigger as well"
        return None

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
        return self.model_dump(mode="json")

    def _windows(self) -> dict[str, Any]:
        least = self.min_samples or min(100, max(self.window_rows // 2, 1))
        return {"window": MonitoringWindow(rows=self.window_rows), "min_samples": least}
