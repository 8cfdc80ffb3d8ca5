"""What a policy says of windows of answers."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.monitoring.measured import Measured
from mlinfra.monitoring.performance import (
    AnswerWindow,
    PerformanceReport,
    UnwatchableMetricError,
    judge_performance,
    performance_limit,
)
from mlinfra.resources.monitoring import PerformancePolicy
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult

START = datetime(2024, 1, 1, tzinfo=UTC)
REFERENCE = {"accuracy": 0.9, "roc_auc": 0.95, "log_loss": 0.3}
NOW = START + timedelta(days=30)


def window(
    day: int,
    measured: float | None = None,
    estimated: float | None = None,
    *,
    rows: int = 1000,
    error: float = 0.005,
) -> AnswerWindow:
    return AnswerWindow(
        first=START + timedelta(days=day),
        last=START + timedelta(days=day + 1),
        rows=rows,
        labelled=rows if measured is not None else 0,
        measured={} if measured is None else {"accuracy": Measured(measured, error)},
        estimated={} if estimated is None else {"accuracy": Measured(estimated, error)},
    )


def judged(*windows: AnswerWindow, **policy: object) -> PerformanceReport:
    return judge_performance(windows, REFERENCE, PerformancePolicy(**policy), now=NOW)


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ((0.9, 0.89, 0.91), MonitorOutcome.OK),
        ((0.7, 0.9, 0.91), MonitorOutcome.OK),
        ((0.7, 0.9, 0.7), MonitorOutcome.BREACHED),
        ((0.9, 0.7, 0.7), MonitorOutcome.BREACHED),
        ((0.7, 0.7, 0.7, 0.9, 0.9, 0.9), MonitorOutcome.OK),
        ((0.7, 0.7), MonitorOutcome.BREACHED),
        ((0.9, 0.9), MonitorOutcome.OK),
        ((0.7, 0.9), MonitorOutcome.INCONCLUSIVE),
        ((0.7,), MonitorOutcome.INCONCLUSIVE),
        ((), MonitorOutcome.INCONCLUSIVE),
        ((0.9, None, 0.9), MonitorOutcome.OK),
        ((0.7, None, 0.9), MonitorOutcome.INCONCLUSIVE),
        ((None, None, None), MonitorOutcome.INCONCLUSIVE),
    ],
)
def test_two_of_three_windows_decide(values: tuple[float | None, ...], outcome: MonitorOutcome) -> None:
    report = judged(*(window(day, value) for day, value in enumerate(values)))
    assert report.result.outcome is outcome
    assert report.limit == pytest.approx(0.85)


def test_a_loss_within_its_sampling_error_is_none() -> None:
    small = [window(day, 0.82, error=0.03) for day in range(3)]
    assert judged(*small).result.outcome is MonitorOutcome.OK
    large = [window(day, 0.82, error=0.01) for day in range(3)]
    assert judged(*large).result.outcome is MonitorOutcome.BREACHED


def test_labels_decide_where_there_are_enough() -> None:
    windows = [window(day, 0.9, 0.6) for day in range(3)]
    assert judged(*windows).result.outcome is MonitorOutcome.OK
    report = judged(*(window(day, None, 0.6) for day in range(3)))
    assert report.result.outcome is MonitorOutcome.BREACHED
    assert report.result.estimated
    assert [verdict.source for verdict in report.verdicts] == ["estimated"] * 3
    never = judged(*(window(day, None, 0.6) for day in range(3)), estimate="Never")
    assert never.result.outcome is MonitorOutcome.INCONCLUSIVE
    few = judged(*(window(day, 0.6, 0.6, rows=99) for day in range(3)))
    assert few.result.outcome is MonitorOutcome.INCONCLUSIVE
    assert "297 predictions in 3 windows, 297 of them labelled" in few.result.message


def test_the_message_tells_value_limit_and_reference() -> None:
    result = judged(*(window(day, 0.7) for day in range(3))).result
    assert result.message == (
        "accuracy 70.0% (measured on 1,000 answers, standard error 0.5%); worse than the limit 85.0% in 3 of "
        "the newest 3 windows, 2 of 3 breach; 90.0% on the test rows of its training"
    )
    assert (result.score, result.metric, result.samples) == (0.7, "accuracy", 1000)
    assert result.window_start == START + timedelta(days=1), "two windows are enough"
    assert result.window_end == START + timedelta(days=3)


def test_the_stricter_limit_is_reached_first() -> None:
    assert performance_limit(PerformancePolicy(threshold=0.75), REFERENCE) == pytest.approx(0.85)
    assert performance_limit(PerformancePolicy(threshold=0.88), REFERENCE) == pytest.approx(0.88)
    assert performance_limit(PerformancePolicy(metric="log_loss", maxLoss=0.1), REFERENCE) == pytest.approx(
        0.33
    )
    assert performance_limit(
        PerformancePolicy(metric="log_loss", maxLoss=0.1, threshold=0.31), REFERENCE
    ) == pytest.approx(0.31)
    assert performance_limit(PerformancePolicy(metric="f1", threshold=0.4), REFERENCE) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("acuracy", "did you mean accuracy"),
        ("bias", "no measure that can be watched"),
        ("f1", "give performance.threshold"),
        ("log_loss", "not measured of this model"),
    ],
)
def test_a_metric_that_cannot_be_watched_is_an_error(metric: str, message: str) -> None:
    result = judged(window(0, 0.9), metric=metric).result
    assert result.outcome is MonitorOutcome.ERROR
    assert message in result.message
    if metric != "log_loss":
        with pytest.raises(UnwatchableMetricError, match=message):
            performance_limit(PerformancePolicy(metric=metric), REFERENCE)


@given(
    values=st.lists(st.none() | st.floats(0, 1), max_size=6),
    estimates=st.lists(st.none() | st.floats(0, 1), min_size=6, max_size=6),
    of_windows=st.integers(1, 4),
    breached=st.integers(1, 4),
)
def test_a_better_window_never_makes_a_breach(
    values: list[float | None], estimates: list[float | None], of_windows: int, breached: int
) -> None:
    policy = {"ofWindows": of_windows, "breachedWindows": min(breached, of_windows)}
    windows = [window(day, value, estimates[day]) for day, value in enumerate(values)]
    better = [
        window(day, value and min(value + 0.2, 1), estimates[day] and min(estimates[day] + 0.2, 1))
        for day, value in enumerate(values)
    ]
    if judged(*windows, **policy).result.outcome is not MonitorOutcome.BREACHED:
        assert judged(*better, **policy).result.outcome is not MonitorOutcome.BREACHED


def test_a_report_survives_its_wire_form() -> None:
    report = judged(window(0, 0.7, 0.8), window(1, None, 0.8), window(2))
    again = PerformanceReport.of_wire(report.to_wire())
    assert again == report
    assert MonitorResult.of_wire(report.result.to_wire()) == report.result


def test_false_alarms_are_rare_without_a_loss_and_a_loss_is_found() -> None:
    generator = np.random.default_rng(1)

    def share(accuracy: float, rows: int) -> float:
        right = generator.binomial(rows, accuracy, (500, 3)) / rows
        return float(
            np.mean(
                [
                    judged(
                        *(
                            window(day, value, rows=rows, error=float(np.sqrt(value * (1 - value) / rows)))
                            for day, value in enumerate(three)
                        )
                    ).result.breached
                    for three in right
                ]
            )
        )

    assert share(0.85, 150) < 0.02
    assert share(0.90, 150) == 0
    assert share(0.70, 150) > 0.98
