"""What values of a Prometheus say of a monitor."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.resources.monitoring import HIGHER_IS_BETTER, DriftPolicy, MonitoringWindow, PerformancePolicy
from mlinfra.resources.monitoring_sources import PrometheusQuery
from mlinfra.retraining.prometheus_values import (
    QUERY_CHARACTERS,
    UnusableValuesError,
    Values,
    judge_values,
    read_values,
    window_ends,
)
from mlinfra.retraining.triggers import MAX_MESSAGE_LENGTH, MonitorOutcome, MonitorResult
from mlinfra.retraining.windows import LOOK_BACK

NOW = datetime(2026, 5, 1, 12, 30, 7, tzinfo=UTC)
HOUR = MonitoringWindow(seconds=3600)
QUERY = PrometheusQuery(query="max(score)")
OK, BREACHED = MonitorOutcome.OK, MonitorOutcome.BREACHED
INCONCLUSIVE = MonitorOutcome.INCONCLUSIVE
Policy = DriftPolicy | PerformancePolicy


def drift(**fields: Any) -> DriftPolicy:
    return DriftPolicy(**({"threshold": 0.2, "window": HOUR} | fields))


def performance(**fields: Any) -> PerformancePolicy:
    return PerformancePolicy(**({"metric": "accuracy", "threshold": 0.8, "window": HOUR} | fields))


def answer(*series: Any, **fields: Any) -> Any:
    return {"status": "success", "data": {"resultType": "matrix", "result": list(series)}, **fields}


def judged(
    policy: Policy, *values: float | None, samples: list[float] | None = None, now: datetime = NOW
) -> MonitorResult:
    """What values of the newest windows amount to; None is no value."""
    ends = window_ends(policy, now)
    at = {
        end: value for end, value in zip(reversed(ends), reversed(values), strict=False) if value is not None
    }
    counted = None
    if samples is not None:
        counted = Values(dict(zip(reversed(ends), reversed(samples), strict=False)))
    return judge_values(QUERY, policy, ends, Values(at), counted)


@given(
    seconds=st.integers(1, 31_536_000),
    of=st.integers(1, 100),
    now=st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    clears=st.booleans(),
)
def test_windows_are_the_same_whenever_they_are_asked_for(
    seconds: int, of: int, now: datetime, clears: bool
) -> None:
    policy = drift(
        window=MonitoringWindow(seconds=seconds),
        of_windows=of,
        breached_windows=1,
        clear_threshold=0.1 if clears else None,
    )
    ends = window_ends(policy, now)
    assert all(end % seconds == 0 and end > 0 for end in ends)
    assert 0 <= now.timestamp() - ends[-1] < seconds + 1
    assert len(ends) == min(of * (LOOK_BACK if clears else 1), ends[-1] // seconds)
    later = window_ends(policy, now + timedelta(seconds=seconds))
    assert list(later)[:-1] == list(ends)[len(ends) + 1 - len(later) :]


@given(
    values=st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=8),
    k=st.integers(1, 5),
    more=st.integers(0, 4),
    metric=st.sampled_from([None, "accuracy", "mae"]),
)
def test_the_newest_windows_decide_as_they_are_counted(
    values: list[float | None], k: int, more: int, metric: str | None
) -> None:
    counting: Any = {"breached_windows": k, "of_windows": k + more, "threshold": 0.5, "window": HOUR}
    policy: Policy = (
        DriftPolicy(**counting) if metric is None else PerformancePolicy(metric=metric, **counting)
    )
    result = judged(policy, *values)
    newest = values[-(k + more) :]
    known = [value for value in newest if value is not None]
    better = metric in HIGHER_IS_BETTER
    bad = [value for value in known if (value < 0.5 if better else value > 0.5)]
    if len(bad) >= k:
        assert (result.outcome, result.score) == (BREACHED, bad[-1])
    elif len(bad) + k + more - len(known) >= k:
        assert result.outcome is INCONCLUSIVE
    else:
        assert (result.outcome, result.score) == (OK, known[-1])
    assert result.window_start is not None
    assert result.window_start < result.window_end <= NOW
    assert result.window_end.timestamp() % 3600 == 0


@given(values=st.lists(st.floats(0, 0.3), min_size=12, max_size=12))
def test_drift_lasts_until_it_is_clear(values: list[float]) -> None:
    policy = drift(clear_threshold=0.1, of_windows=3, breached_windows=1)
    drifted = []
    for value in values:
        drifted.append(value > (0.1 if drifted and drifted[-1] else 0.2))
    assert judged(policy, *values).breached == any(drifted[-3:])


def test_a_breach_tells_score_threshold_window_and_query() -> None:
    result = judged(drift(), 0.25, 0.1, 0.31)
    assert result == MonitorResult(
        result.trigger,
        BREACHED,
        datetime(2026, 5, 1, 12, tzinfo=UTC),
        0.31,
        0.2,
        "drift 0.31 by Prometheus, max(score); above 0.2 in 2 of the newest 3 windows of 3,600 s, "
        "2 of 3 breach",
        window_start=datetime(2026, 5, 1, 9, tzinfo=UTC),
    )
    lost = judged(performance(), 0.9, 0.7, 0.75)
    assert lost.message.startswith("accuracy 0.75 by Prometheus, max(score); below 0.8 in 2 of the newest 3")
    assert (lost.trigger, lost.metric, lost.estimated) == ("performance", "accuracy", False)


def test_windows_without_values_tell_nothing_and_do_not_ask_again() -> None:
    nothing = judged(drift())
    assert (nothing.outcome, nothing.score) == (INCONCLUSIVE, None)
    assert nothing.message == "drift by Prometheus, max(score): no value in the newest 3 windows"
    before = judged(drift(), 0.3, 0.3, now=NOW)
    silent = judged(drift(), 0.3, 0.3, None, now=NOW + timedelta(hours=1))
    assert (silent.outcome, silent.window_end) == (BREACHED, before.window_end)


def test_samples_decide_whether_a_window_tells_anything() -> None:
    few = judged(drift(min_samples=100), 0.3, 0.3, 0.3, samples=[500, 99.9, 0])
    assert (few.outcome, few.score, few.samples) == (INCONCLUSIVE, 0.3, 500)
    enough = judged(drift(min_samples=100), 0.3, 0.3, 0.3, samples=[100, 99, 101])
    assert (enough.outcome, enough.samples) == (BREACHED, 101)
    unknown = judged(drift(of_windows=1, breached_windows=1), 0.3, samples=[])
    assert unknown.message == "drift 0.3 by Prometheus, max(score): 0 samples, fewer than 100"


@given(
    st.dictionaries(st.integers(1, 2**32), st.floats(), max_size=5),
    st.dictionaries(st.sampled_from(["__name__", "job"]), st.text(max_size=3)),
)
def test_numbers_are_read_and_what_is_none_is_no_value(numbers: dict[int, float], labels: Any) -> None:
    text = {math.inf: "+Inf", -math.inf: "-Inf"}
    pairs = [[moment, text.get(value, repr(value))] for moment, value in numbers.items()]
    read = read_values(answer({"metric": labels, "values": pairs}), "up")
    assert read.at == {moment: value for moment, value in numbers.items() if math.isfinite(value)}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (None, "cannot be read"),
        ({"status": "error"}, "cannot be read: status"),
        ({"status": "success", "data": {"resultType": "vector", "result": []}}, "resultType"),
        (answer({"metric": {}, "values": [[1, "much"]]}), "much"),
        (answer({"metric": {}, "values": [["now", "1"]]}), "cannot be read: data.result.0.values"),
        (
            answer({"metric": {"__name__": "up", "job": "a"}}, {"metric": {"job": "b"}}, {"metric": {}}),
            'gives 3 series, such as up{job="a"} and {job="b"}',
        ),
        (answer({"metric": {}, "histograms": [[1, {}]]}), "gives histograms"),
    ],
)
def test_what_is_no_series_of_numbers_is_told(given: Any, problem: str) -> None:
    with pytest.raises(UnusableValuesError, match=re.escape(problem)):
        read_values(given, "up")


def test_warnings_are_told_and_long_queries_are_cut() -> None:
    read = read_values(answer(warnings=["a store is away"]), "up")
    assert read == Values({}, ("a store is away",))
    ends = window_ends(drift(), NOW)
    query = PrometheusQuery(query="sum(\n" + "x + " * 1000 + "x)")
    message = judge_values(query, drift(), ends, read, None).message
    assert message.endswith("; Prometheus warns: a store is away")
    assert "sum( x + x" in message
    assert len(message) < QUERY_CHARACTERS + 100 < MAX_MESSAGE_LENGTH
