"""When windows are judged to drift, and how often they are although nothing did."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.monitoring.calibration import benjamini_hochberg
from mlinfra.monitoring.chunks import CountedWindow
from mlinfra.monitoring.drift import DriftReport, check_drift
from mlinfra.monitoring.profile import HeldOut, ReferenceProfile, build_profile
from mlinfra.resources.monitoring import DriftMethod, DriftPolicy
from mlinfra.retraining.triggers import MonitorOutcome

START = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = 6
ROWS = 500


def rows_of(generator: np.random.Generator, rows: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    columns = {f"f{number}": generator.normal(size=rows) for number in range(FEATURES)}
    columns["f0"] = columns["f0"] + shift
    return columns


def profile_of(columns: dict[str, np.ndarray]) -> ReferenceProfile:
    rows = len(columns["f0"])
    outputs = np.column_stack([np.full(rows, 0.4), np.full(rows, 0.6)])
    return build_profile(columns, HeldOut(columns, outputs, np.arange(rows) % 2), classes=(0, 1))


PROFILE = profile_of(rows_of(np.random.default_rng(3), 20_000))


def windows_of(profile: ReferenceProfile, parts: Sequence[dict[str, np.ndarray]]) -> list[CountedWindow]:
    windows = []
    for number, columns in enumerate(parts):
        rows = len(columns["f0"])
        outputs = np.column_stack([np.full(rows, 0.4), np.full(rows, 0.6)])
        first = START + number * timedelta(days=1)
        windows.append(CountedWindow(first, first + timedelta(hours=23), profile.count(columns, outputs)))
    return windows


def check(shifts: Sequence[float], policy: DriftPolicy, seed: int = 4) -> DriftReport:
    generator = np.random.default_rng(seed)
    windows = windows_of(PROFILE, [rows_of(generator, ROWS, shift) for shift in shifts])
    return check_drift(PROFILE, windows, policy, now=START + timedelta(days=len(shifts)))


def test_no_drift_is_ok() -> None:
    report = check([0, 0, 0], DriftPolicy())
    assert report.result.outcome is MonitorOutcome.OK
    assert report.result.metric == "PSI"
    assert "none of 6 features drifted" in report.result.message


def test_a_shift_breaches_and_names_its_feature() -> None:
    result = check([0, 0.6, 0.6], DriftPolicy()).result
    assert result.outcome is MonitorOutcome.BREACHED
    assert [feature.name for feature in result.features] == ["f0"]
    assert result.score is not None
    assert result.threshold is not None
    assert result.score > result.threshold
    assert result.window_start == START + timedelta(days=1)
    assert result.window_end == START + timedelta(days=2, hours=23)


def test_fewer_windows_than_must_breach_do_not() -> None:
    assert check([0, 0, 0.6], DriftPolicy()).result.outcome is MonitorOutcome.OK


def test_before_enough_windows_nobody_knows() -> None:
    assert check([], DriftPolicy()).result.outcome is MonitorOutcome.INCONCLUSIVE
    assert check([0.6], DriftPolicy()).result.outcome is MonitorOutcome.INCONCLUSIVE


def test_windows_of_too_few_rows_are_inconclusive() -> None:
    result = check([0.6] * 3, DriftPolicy(min_samples=ROWS + 1)).result
    assert result.outcome is MonitorOutcome.INCONCLUSIVE
    assert "minSamples" in result.message


def test_rows_whose_features_nobody_knows_neither_drift_nor_lack_values() -> None:
    columns = rows_of(np.random.default_rng(4), ROWS)
    matrix = np.column_stack(list(columns.values()))
    matrix[ROWS // 2 :] = np.nan
    outputs = np.column_stack([np.full(ROWS, 0.4), np.full(ROWS, 0.6)])
    (counts,) = PROFILE.count_stretches(matrix, outputs, [ROWS], np.arange(ROWS) < ROWS // 2)
    windows = [CountedWindow(START, START + timedelta(hours=23), counts)]
    policy = DriftPolicy(breached_windows=1, of_windows=1)
    report = check_drift(PROFILE, windows, policy, now=START + timedelta(days=1))
    assert report.result.outcome is MonitorOutcome.OK
    assert report.windows[0].rows == ROWS // 2
    assert {each.missing for each in report.windows[0].features} == {0.0}
    few = policy.model_copy(update={"min_samples": ROWS // 2 + 1})
    report = check_drift(PROFILE, windows, few, now=START + timedelta(days=1))
    assert report.result.outcome is MonitorOutcome.INCONCLUSIVE


def test_a_feature_that_is_not_read_is_an_error() -> None:
    result = check([0] * 3, DriftPolicy(features=["f9"])).result
    assert result.outcome is MonitorOutcome.ERROR
    assert '"f9"' in result.message


def test_features_that_are_not_watched_do_not_breach() -> None:
    assert check([0.6] * 3, DriftPolicy(features=["f1", "f2"])).result.outcome is MonitorOutcome.OK


def test_what_drifted_is_clear_only_below_the_clear_threshold() -> None:
    shifts = [0.6, 0.25, 0.25, 0.25]
    one = {"breached_windows": 1, "of_windows": 1}
    assert check(shifts, DriftPolicy(threshold=0.2, **one)).result.outcome is MonitorOutcome.OK
    sticky = DriftPolicy(threshold=0.2, clear_threshold=0.02, **one)
    assert check(shifts, sticky).result.outcome is MonitorOutcome.BREACHED
    assert check([*shifts, 0.0], sticky.model_copy(update={"clear_threshold": 0.1})).result.outcome is (
        MonitorOutcome.OK
    )


@settings(max_examples=25)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.8]), min_size=3, max_size=3), st.integers(0, 100))
def test_more_drift_never_turns_a_breach_into_ok(shifts: list[float], seed: int) -> None:
    policy = DriftPolicy(threshold=0.1)
    before = check(shifts, policy, seed).result
    after = check([shift + 0.5 if shift else 0.0 for shift in shifts], policy, seed).result
    assert not (before.breached and not after.breached)


@settings(max_examples=10)
@given(st.permutations(range(FEATURES)))
def test_the_order_of_features_changes_nothing(order: list[int]) -> None:
    generator = np.random.default_rng(5)
    columns = rows_of(generator, 5000)
    parts = [rows_of(generator, ROWS, 0.5) for _ in range(3)]
    turned = {f"f{number}": columns[f"f{number}"] for number in order}
    results = [
        check_drift(profile, windows_of(profile, parts), DriftPolicy(), now=START).result
        for profile in (profile_of(columns), profile_of(turned))
    ]
    assert results[0] == results[1]


def test_windows_without_drift_breach_about_as_often_as_allowed() -> None:
    generator = np.random.default_rng(6)
    policy = DriftPolicy(false_alarm_rate=0.05, breached_windows=1, of_windows=1)
    windows = windows_of(PROFILE, [rows_of(generator, ROWS) for _ in range(400)])
    alarms = sum(check_drift(PROFILE, [window], policy, now=START).result.breached for window in windows)
    # Of 400 windows 20 may; four standard deviations of that more are no chance.
    assert alarms <= 20 + 4 * np.sqrt(20)


@pytest.mark.parametrize(
    "method", ["PSI", "JensenShannon", "KolmogorovSmirnov", "Wasserstein", "ChiSquared", "LInfinity"]
)
def test_each_method_raises_no_more_alarms_than_allowed_and_sees_drift(method: DriftMethod) -> None:
    generator = np.random.default_rng(8)
    policy = DriftPolicy(method=method, false_alarm_rate=0.1, breached_windows=1, of_windows=1)

    def alarms(shift: float, number: int) -> int:
        windows = windows_of(PROFILE, [rows_of(generator, ROWS, shift) for _ in range(number)])
        return sum(check_drift(PROFILE, [each], policy, now=START).result.breached for each in windows)

    # Of 200 windows 20 may; thresholds that are never reached would hide drift.
    assert alarms(0.0, 200) <= 20 + 4 * np.sqrt(20)
    assert alarms(0.5, 20) == 20


def mixed(generator: np.random.Generator, rows: int, categories: Sequence[str]) -> dict[str, np.ndarray]:
    return {
        "f0": generator.normal(size=rows),
        "kind": generator.choice(np.array(list(categories), object), rows),
    }


def test_new_categories_make_a_column_drift() -> None:
    generator = np.random.default_rng(9)
    columns = mixed(generator, 5000, "abc")
    outputs = np.full((5000, 2), 0.5)
    held_out = HeldOut(columns, outputs, np.arange(5000) % 2)
    profile = build_profile(columns, held_out, classes=(0, 1))
    parts = [mixed(generator, ROWS, categories) for categories in ("abc", "abcxy")]
    results = []
    for part in parts:
        counts = profile.count(part, np.full((ROWS, 2), 0.5))
        window = CountedWindow(START, START + timedelta(days=1), counts)
        results.append(
            check_drift(profile, [window], DriftPolicy(breached_windows=1, of_windows=1), now=START)
        )
    usual, new = (each.windows[0].features for each in results)
    assert [each.drifted for each in usual] == [False, False]
    assert {each.name: each.drifted for each in new} == {"f0": False, "kind": True}
    (kind,) = (each for each in new if each.name == "kind")
    assert kind.unusual == pytest.approx(0.4, abs=0.1)


def test_labels_of_other_shares_are_told() -> None:
    generator = np.random.default_rng(10)
    scores = []
    for positive in (0.5, 0.95):
        (window,) = windows_of(PROFILE, [rows_of(generator, ROWS)])
        labels = (generator.random(ROWS) < positive).astype(int).tolist()
        labelled = PROFILE.count_labels(np.tile([0.4, 0.6], (ROWS, 1)), labels)
        window = replace(window, counts=window.counts + labelled)
        label = check_drift(PROFILE, [window], DriftPolicy(), now=START).windows[0].label
        assert label is not None
        scores.append(label.score)
    assert scores[0] < 0.05
    assert scores[1] > 0.5


def test_rows_that_resemble_the_ones_before_them_raise_no_more_alarms_than_allowed() -> None:
    """Windows of a slow series are far from all training rows, though nothing drifts."""
    generator = np.random.default_rng(7)

    def series(rows: int) -> np.ndarray:
        noise = generator.normal(size=rows + 500)
        values = np.zeros(rows + 500)
        for row in range(1, len(values)):
            values[row] = 0.97 * values[row - 1] + noise[row]
        return values[500:]

    def columns(rows: int) -> dict[str, np.ndarray]:
        return {f"f{number}": series(rows) for number in range(FEATURES)}

    profile = profile_of(columns(4000))
    later = columns(100 * 120)
    parts = [{name: values[i * 120 : (i + 1) * 120] for name, values in later.items()} for i in range(100)]
    windows = windows_of(profile, parts)
    calibrated = DriftPolicy(false_alarm_rate=0.05, breached_windows=1, of_windows=1)
    textbook = calibrated.model_copy(update={"threshold": 0.25})
    alarms = {
        name: sum(check_drift(profile, [window], policy, now=START).result.breached for window in windows)
        for name, policy in (("calibrated", calibrated), ("textbook", textbook))
    }
    assert alarms["textbook"] > 90
    # Of 100 windows 5 may; four standard deviations of that more are no chance.
    assert alarms["calibrated"] <= 5 + 4 * np.sqrt(5)


@pytest.mark.parametrize(
    ("probabilities", "limit"),
    [
        ([0.01, 0.02, 0.03, 0.9], 3 * 0.05 / 4),
        ([0.2, 0.3, 0.4, 0.5], 0.05 / 4),
        ([0.001], 0.05),
    ],
)
def test_benjamini_hochberg(probabilities: list[float], limit: float) -> None:
    named = {str(number): value for number, value in enumerate(probabilities)}
    assert benjamini_hochberg(named, 0.05) == pytest.approx(limit)


def test_a_report_is_the_same_after_json() -> None:
    report = check([0, 0.6, 0.6], DriftPolicy())
    assert DriftReport.of_wire(report.to_wire()) == report
