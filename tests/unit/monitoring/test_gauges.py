"""The gauges are those of the newest check of each kind, and their labels stay within what the model has."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from mlinfra.monitoring.gauges import PREFIX, MonitoringGauges
from mlinfra.monitoring.monitor import ModelMonitor, MonitoringReport
from mlinfra.monitoring.profile import HeldOut, build_profile
from mlinfra.resources.monitoring import DriftPolicy, MonitoringWindow, PerformancePolicy

HOSTILE = 'a"} 1\nmlinfra_fake{x="'
NAMES = ("price", HOSTILE)
WINDOW = MonitoringWindow(rows=200)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def profile_and_rows() -> tuple[ModelMonitor, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    columns = {name: generator.normal(size=2000) for name in NAMES}
    up = 1 / (1 + np.exp(-columns["price"]))
    outputs = np.column_stack([1 - up, up])
    labels = (generator.random(2000) < up).astype(np.int64)
    profile = build_profile(
        columns, HeldOut(columns, outputs, labels), classes=(0, 1), performance={"accuracy": 0.7}
    )
    return ModelMonitor(profile, model_name="model", model_version="3"), outputs, labels


def checked(*, labelled: bool = True, method: str = "PSI", threshold: float = 0.4) -> MonitoringReport:
    monitor, outputs, labels = profile_and_rows()
    rows = np.column_stack([np.full(400, 9.0), np.random.default_rng(2).normal(size=400)])
    times = np.arange(400) * 1_000_000_000 + int(NOW.timestamp()) * 1_000_000_000
    monitor.observe(rows, outputs[:400], times)
    if labelled:
        monitor.label(outputs[:400], labels[:400].tolist(), times)
    return monitor.check(
        DriftPolicy(method=method, threshold=threshold, window=WINDOW, breached_windows=1, of_windows=1),
        PerformancePolicy(window=WINDOW, breached_windows=1, of_windows=1),
    )


def samples(gauges: MonitoringGauges) -> dict[tuple[str, ...], float]:
    """Values by name without prefix and the labels after model and version."""
    found = {}
    for family in gauges.collect():
        for sample in family.samples:
            assert list(sample.labels.values())[:2] == ["model", "3"]
            found[(sample.name.removeprefix(PREFIX), *list(sample.labels.values())[2:])] = sample.value
    return found


def test_a_check_is_told() -> None:
    gauges, report = MonitoringGauges(), checked()
    assert samples(gauges) == {}
    gauges.tell(report)
    told = samples(gauges)
    assert report.drift is not None
    price = next(each for each in report.drift.windows[-1].features if each.name == "price")
    assert told["drift_score", "price", "PSI"] == price.score > 0.4
    assert told["drift_threshold", HOSTILE, "PSI"] == 0.4
    assert told["drifted_features_ratio", "PSI"] == 0.5
    assert told["drift_breached", "PSI"] == 1
    assert (told["rows",], told["labels",]) == (400, 400)
    assert told["performance_limit", "accuracy"] == 0.7 - 0.05
    assert report.performance is not None
    window = report.performance.verdicts[-1].window
    assert told["performance", "accuracy", "measured"] == window.measured["accuracy"].value
    assert told["performance", "accuracy", "estimated"] == window.estimated["accuracy"].value


def test_checks_of_other_methods_stand_beside_each_other_and_newer_ones_replace() -> None:
    gauges = MonitoringGauges()
    for report in (checked(), checked(method="LInfinity"), checked(threshold=99.0)):
        gauges.tell(report)
    told = samples(gauges)
    assert (told["drift_breached", "PSI"], told["drift_breached", "LInfinity"]) == (0, 1)


def test_without_labels_only_the_estimate_is_told() -> None:
    gauges = MonitoringGauges()
    gauges.tell(checked(labelled=False))
    told = samples(gauges)
    assert ("performance", "accuracy", "estimated") in told
    assert ("performance", "accuracy", "measured") not in told
    assert ("label_drift_score", "PSI") not in told


def test_another_version_begins_anew() -> None:
    gauges, report = MonitoringGauges(), checked()
    gauges.tell(report)
    gauges.serves("model", "3")
    assert samples(gauges)
    gauges.serves("model", "4")
    assert samples(gauges) == {}


def test_a_check_without_a_whole_window_leaves_the_scores() -> None:
    gauges, report = MonitoringGauges(), checked()
    gauges.tell(report)
    before = samples(gauges)
    assert report.drift is not None
    gauges.tell(replace(report, rows=1, drift=replace(report.drift, windows=()), performance=None))
    assert samples(gauges) == before | {("rows",): 1}


def test_names_cannot_forge_a_line() -> None:
    gauges, registry = MonitoringGauges(), CollectorRegistry()
    registry.register(gauges)
    gauges.tell(checked())
    text = generate_latest(registry).decode()
    assert not [line for line in text.splitlines() if line.startswith("mlinfra_fake")]


@settings(max_examples=30, deadline=timedelta(seconds=10))
@given(st.lists(st.tuples(st.text(max_size=8), st.integers(0, 10)), max_size=20))
def test_however_many_checks_come_the_number_of_series_is_bounded(checks: list[tuple[str, int]]) -> None:
    gauges = MonitoringGauges()
    gauges.tell(REPORT)
    series = set(samples(gauges))
    for metric, rows in checks:
        # A measure that is not known has no verdicts; see `judge_performance`.
        unknown = monitor_says(metric)
        gauges.tell(replace(REPORT, rows=rows, performance=unknown.performance))
        assert set(samples(gauges)) == series


def monitor_says(metric: str) -> MonitoringReport:
    return MONITOR.check(None, PerformancePolicy(metric=f"my {metric}"))


REPORT = checked()
MONITOR = profile_and_rows()[0]
