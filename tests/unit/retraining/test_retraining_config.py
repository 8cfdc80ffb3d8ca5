"""The configuration of a pipeline: the policies it stands for, and what it refuses."""

from datetime import timedelta
from typing import Any

import pytest

from mlinfra.retraining import RetrainingConfig
from mlinfra.retraining.config import InvalidRetrainingConfigError
from mlinfra.retraining.schedule import InvalidScheduleError


def test_the_promised_fields_are_the_policies() -> None:
    config = RetrainingConfig(
        enable_scheduled=True,
        retraining_interval_hours=24,
        enable_drift_trigger=True,
        drift_threshold=0.15,
        enable_performance_trigger=True,
        performance_threshold=0.75,
        auto_promote_to_production=True,
    )
    assert config == RetrainingConfig()
    assert config.interval == timedelta(days=1)
    assert config.drift is not None
    assert (config.drift.method, config.drift.threshold, config.drift.on_breach) == ("PSI", 0.15, "Evaluate")
    assert config.performance is not None
    assert (config.performance.metric, config.performance.threshold) == ("accuracy", 0.75)
    assert config.least_accuracy == 0.75


def test_what_is_not_enabled_is_not_checked() -> None:
    config = RetrainingConfig(enable_drift_trigger=False, enable_performance_trigger=False)
    assert (config.drift, config.performance) == (None, None)
    assert RetrainingConfig(enable_scheduled=False, schedule="@daily").cron is None


def test_a_small_window_asks_for_half_as_many_samples() -> None:
    drift = RetrainingConfig(window_rows=60).drift
    assert drift is not None
    assert drift.min_samples == 30


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"retraining_interval_hours": 0}, "retraining_interval_hours"),
        ({"check_interval_seconds": float("nan")}, "check_interval_seconds"),
        ({"cooldown_hours": -1}, "cooldown_hours"),
        ({"max_runs_per_day": 0}, "max_runs_per_day"),
        ({"performance_threshold": 75}, "performance_threshold"),
        ({"drift_threshold": -0.1}, "threshold"),
        ({"window_rows": 0}, "rows"),
        ({"window_rows": 50, "min_samples": 51}, "minSamples"),
        ({"model_name": "a/b"}, "model_name"),
        ({"max_backoff_factor": 0}, "max_backoff_factor is between 1 and 64"),
        ({"rollback_observation_hours": 0}, "rollback_observation_hours must be more than 0"),
        (
            {"rollback_observation_hours": 1, "enable_performance_trigger": False},
            "set enable_performance_trigger as well",
        ),
        ({"rollback_max_loss": -1}, "rollback_max_loss"),
    ],
)
def test_a_value_out_of_its_bounds_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRetrainingConfigError, match=message):
        RetrainingConfig(**values)


def test_a_schedule_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidScheduleError, match="five of cron"):
        RetrainingConfig(schedule="3 o'clock")
