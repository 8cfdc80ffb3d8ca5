"""The configuration of a pipeline: the policies it stands for, and what it refuses."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlinfra.resources.retraining_policy import MOST_BACKOFF_FACTOR
from mlinfra.retraining import RetrainingConfig
from mlinfra.retraining.config import MOST_HOURS, InvalidRetrainingConfigError
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
        ({"retraining_interval_hours": 0}, "retraining_interval_hours: input should be greater than 0"),
        ({"retraining_interval_hours": 1e12}, "retraining_interval_hours: .* less than or equal to 87600"),
        ({"retraining_interval_hours": "24"}, "retraining_interval_hours: input should be a valid number"),
        ({"check_interval_seconds": math.nan}, "check_interval_seconds: input should be a finite number"),
        ({"check_interval_seconds": math.inf}, "check_interval_seconds: input should be a finite number"),
        ({"cooldown_hours": -1}, "cooldown_hours: .* greater than or equal to 0"),
        ({"cooldown_hours": 1e9}, "cooldown_hours: .* less than or equal to 87600"),
        ({"max_runs_per_day": 0}, "max_runs_per_day: .* greater than or equal to 1"),
        ({"max_runs_per_day": 1.5}, "max_runs_per_day: input should be a valid integer"),
        ({"performance_threshold": 75}, "performance_threshold of accuracy is between 0 and 1, and is 75"),
        ({"performance_threshold": math.nan}, "performance_threshold: input should be a finite number"),
        ({"performance_metric": "acuracy"}, "performance_metric: .*did you mean accuracy"),
        ({"drift_threshold": -0.1}, "drift_threshold: input should be greater than 0"),
        ({"on_drift": "retrain"}, "on_drift: input should be 'Evaluate' or 'Retrain'"),
        ({"enable_drift_trigger": "yes"}, "enable_drift_trigger: input should be a valid boolean"),
        ({"window_rows": 0}, "window_rows: .* greater than or equal to 1"),
        ({"min_samples": 0}, "min_samples: .* greater than or equal to 1"),
        ({"window_rows": 50, "min_samples": 51}, "min_samples is 51 and must not be more than window_rows"),
        ({"model_name": "a/b"}, "model_name: a model name has none of"),
        ({"server_url": "127.0.0.1:8080"}, "server_url: string should match pattern '\\^https"),
        ({"max_backoff_factor": 0}, "max_backoff_factor: .* greater than or equal to 1"),
        ({"max_backoff_factor": 65}, "max_backoff_factor: .* less than or equal to 64"),
        ({"rollback_observation_hours": 0}, "rollback_observation_hours: input should be greater than 0"),
        (
            {"rollback_observation_hours": 1, "enable_performance_trigger": False},
            "set enable_performance_trigger as well",
        ),
        ({"rollback_max_loss": -1}, "rollback_max_loss: .* greater than or equal to 0"),
        ({"log_folder": 5}, "log_folder: input is not a valid path"),
        ({"retraining_interval": 24}, "no field retraining_interval; did you mean retraining_interval_hours"),
    ],
)
def test_a_value_out_of_its_bounds_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRetrainingConfigError, match=message) as refused:
        RetrainingConfig(**values)
    assert "\n" not in str(refused.value)


def test_every_wrong_field_is_told_at_once() -> None:
    with pytest.raises(InvalidRetrainingConfigError, match=r"window_rows: .*; min_samples: "):
        RetrainingConfig(window_rows=0, min_samples=0)


def test_a_folder_may_be_a_string_and_a_whole_number_a_float(tmp_path: Path) -> None:
    config = RetrainingConfig(log_folder=str(tmp_path), window_rows=500.0)  # type: ignore[arg-type]
    assert (config.log_folder, config.window_rows) == (tmp_path, 500)
    assert config.to_wire()["log_folder"] == str(tmp_path)
    # The same configuration is the same on the wire: by it a pipeline knows what it kept.
    assert json.dumps(RetrainingConfig(retraining_interval_hours=24).to_wire()) == json.dumps(
        RetrainingConfig().to_wire()
    )


def test_the_largest_values_can_be_reckoned_with() -> None:
    config = RetrainingConfig(
        retraining_interval_hours=MOST_HOURS,
        cooldown_hours=MOST_HOURS,
        rollback_observation_hours=MOST_HOURS,
        max_backoff_factor=MOST_BACKOFF_FACTOR,
    )
    now = datetime.now(UTC)
    assert config.observation is not None
    assert now + config.interval > now
    assert now + config.observation.length > now
    assert now + config.limits.cooldown * config.limits.max_backoff_factor > now


def test_a_schedule_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidScheduleError, match="five of cron"):
        RetrainingConfig(schedule="3 o'clock")


def test_a_time_zone_that_is_none_is_refused_without_a_schedule_too() -> None:
    with pytest.raises(InvalidScheduleError, match="Mars/Base"):
        RetrainingConfig(time_zone="Mars/Base")
