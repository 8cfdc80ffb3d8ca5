"""What values of a Prometheus say of a monitor. Pure.

A window is as long as the policy's ``window.seconds`` and begins at a multiple of that since 1970, as the
windows of a model server do; its score is the value of the query at its end. So the same windows are judged
whenever and by whomever they are asked for: an operator that starts again needs to remember nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, ValidationError

from mlinfra.errors import InvalidInputError
from mlinfra.resources.monitoring import HIGHER_IS_BETTER, DriftPolicy, PerformancePolicy
from mlinfra.resources.monitoring_sources import PrometheusQuery
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, RetrainingTrigger
from mlinfra.retraining.windows import outcome_of_windows, windows_looked_at

QUERY_CHARACTERS = 300
"""Of a query in a message."""
NAMED = 2


class UnusableValuesError(InvalidInputError):
    """Prometheus answered with what is no series of numbers."""

    reason: ClassVar[str] = "UnusableValues"


@dataclass(frozen=True, slots=True)
class Values:
    """The values of a query.

    Attributes:
        at: finite ones by the second since 1970.
        warnings: what Prometheus says against them.
    """

    at: Mapping[int, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Window:
    end: int
    value: float | None
    samples: int | None
    outcome: MonitorOutcome
    threshold: float


def window_ends(policy: DriftPolicy | PerformancePolicy, now: datetime) -> range:
    """Ends of the windows to look at, seconds since 1970, rising.

    Args:
        policy: what is watched, in windows of seconds.
        now: the newest one has come to its end by then.
    """
    assert policy.window is not None
    assert policy.window.seconds is not None
    length = policy.window.seconds
    last = int(now.timestamp()) // length
    first = max(1, last + 1 - windows_looked_at(policy))
    return range(first * length, last * length + 1, length)


def read_values(answer: object, query: str) -> Values:
    """The values in an answer of ``/api/v1/query_range``; none where there is no series.

    Raises:
        UnusableValuesError: it is no such answer, or of several series.
    """
    try:
        read = _Answer.model_validate(answer)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnusableValuesError(f"Prometheus' answer cannot be read: {where}: {first['msg']}") from error
    series = read.data.result
    if len(series) > 1:
        named = " and ".join(_labels(each.metric) for each in series[:NAMED])
        raise UnusableValuesError(
            f"{_shortened(query)} gives {len(series)} series, such as {named}: make one of them, as max(...) "
            "or a selector does"
        )
    if series and series[0].histograms:
        raise UnusableValuesError(
            f"{_shortened(query)} gives histograms, not numbers: histogram_quantile(...) gives one"
        )
    pairs = series[0].values if series else []
    try:
        numbers = {round(moment): float(text) for moment, text in pairs}
    except ValueError as error:
        raise UnusableValuesError(f"Prometheus' answer cannot be read: {error}") from error
    finite = {moment: value for moment, value in numbers.items() if math.isfinite(value)}
    return Values(finite, tuple(read.warnings))


def judge_values(
    query: PrometheusQuery,
    policy: DriftPolicy | PerformancePolicy,
    ends: range,
    values: Values,
    samples: Values | None,
) -> MonitorResult:
    """Apply a policy to values.

    A window without a value tells nothing, nor does one of fewer samples than ``minSamples`` where they are
    asked for.

    Args:
        query: what was asked.
        policy: what is watched; it has a threshold.
        ends: of the windows.
        values: of the query.
        samples: of the query of samples; None where there is none.
    """
    windows: list[_Window] = []
    for end in ends:
        before = windows[-1] if windows else None
        windows.append(_judged(end, policy, values, samples, before))
    newest = windows[-policy.of_windows :]
    outcome = outcome_of_windows([each.outcome for each in newest], policy)
    breached = [each for each in newest if each.outcome is MonitorOutcome.BREACHED]
    decided = [each for each in newest if each.outcome is not MonitorOutcome.INCONCLUSIVE]
    if outcome is MonitorOutcome.BREACHED:
        told, decisive = breached[-1], breached[-policy.breached_windows]
    else:
        told, decisive = (decided or newest)[-1], newest[0]
    drift = isinstance(policy, DriftPolicy)
    return MonitorResult(
        trigger=RetrainingTrigger.DRIFT if drift else RetrainingTrigger.PERFORMANCE,
        outcome=outcome,
        window_end=_moment((decided or newest)[-1].end),
        score=told.value,
        threshold=told.threshold,
        message=_message(query, policy, newest, told, values.warnings),
        window_start=_moment(decisive.end - ends.step),
        metric="" if isinstance(policy, DriftPolicy) else policy.metric,
        samples=told.samples,
    )


def _judged(
    end: int,
    policy: DriftPolicy | PerformancePolicy,
    values: Values,
    samples: Values | None,
    before: _Window | None,
) -> _Window:
    assert policy.threshold is not None
    threshold = policy.threshold
    if isinstance(policy, DriftPolicy) and policy.clear_threshold is not None:
        drifted = before is not None and before.outcome is MonitorOutcome.BREACHED
        threshold = policy.clear_threshold if drifted else threshold
    value = values.at.get(end)
    counted = samples.at.get(end, 0.0) if samples is not None else None
    rows = max(0, int(counted)) if counted is not None else None
    if value is None or (rows is not None and rows < policy.min_samples):
        return _Window(end, value, rows, MonitorOutcome.INCONCLUSIVE, threshold)
    worse = value < threshold if _higher_is_better(policy) else value > threshold
    return _Window(end, value, rows, MonitorOutcome.BREACHED if worse else MonitorOutcome.OK, threshold)


def _higher_is_better(policy: DriftPolicy | PerformancePolicy) -> bool:
    return isinstance(policy, PerformancePolicy) and policy.metric in HIGHER_IS_BETTER


def _message(
    query: PrometheusQuery,
    policy: DriftPolicy | PerformancePolicy,
    windows: Sequence[_Window],
    told: _Window,
    warnings: Sequence[str],
) -> str:
    what = "drift" if isinstance(policy, DriftPolicy) else policy.metric
    asked = f"by Prometheus, {_shortened(query.query)}"
    breached = sum(each.outcome is MonitorOutcome.BREACHED for each in windows)
    side = "below" if _higher_is_better(policy) else "above"
    assert policy.window is not None
    if told.value is None:
        said = f"{what} {asked}: no value in the newest {len(windows)} windows"
    elif told.outcome is MonitorOutcome.INCONCLUSIVE:
        said = f"{what} {told.value:.4g} {asked}: {told.samples:,} samples, fewer than {policy.min_samples:,}"
    else:
        said = (
            f"{what} {told.value:.4g} {asked}; {side} {told.threshold:.4g} in {breached} of the newest "
            f"{len(windows)} windows of {policy.window.seconds:,} s, {policy.breached_windows} of "
            f"{policy.of_windows} breach"
        )
    return said if not warnings else f"{said}; Prometheus warns: {warnings[0]}"


def _shortened(query: str) -> str:
    line = " ".join(query.split())
    return line if len(line) <= QUERY_CHARACTERS else f"{line[: QUERY_CHARACTERS - 1]}…"


def _labels(metric: Mapping[str, str]) -> str:
    inside = ", ".join(f'{name}="{value}"' for name, value in sorted(metric.items()) if name != "__name__")
    return f"{metric.get('__name__', '')}{{{inside}}}"[:QUERY_CHARACTERS]


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class _Series(BaseModel):
    metric: dict[str, str] = {}
    values: list[tuple[float, str]] = []
    histograms: list[Any] = []


class _Data(BaseModel):
    result_type: Annotated[Literal["matrix"], Field(alias="resultType")]
    result: list[_Series]


class _Answer(BaseModel):
    status: Literal["success"]
    data: _Data
    warnings: list[str] = []
