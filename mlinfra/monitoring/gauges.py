"""What the newest checks of a model's monitors say, as gauges for Prometheus.

Labels are bounded: features of the model, methods of drift, and names of measures. A scrape counts nothing
and checks nothing; the gauges change when a check is made.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from mlinfra.monitoring.drift import DriftReport
    from mlinfra.monitoring.measured import Measured
    from mlinfra.monitoring.monitor import MonitoringReport
    from mlinfra.monitoring.performance import PerformanceReport

PREFIX = "mlinfra_monitoring_"


@dataclass(frozen=True, slots=True)
class _Told:
    """What was said of one version: the newest check by method of drift, and by measure of performance."""

    model: str
    version: str
    rows: int = 0
    labelled: int = 0
    drift: Mapping[str, "DriftReport"] = field(default_factory=lambda: MappingProxyType({}))
    performance: Mapping[str, "PerformanceReport"] = field(default_factory=lambda: MappingProxyType({}))


class MonitoringGauges(Collector):
    """The newest checks of the version that is served.

    Calls may come from several threads: what a scrape reads is replaced as a whole.
    """

    def __init__(self) -> None:
        self._told: _Told | None = None

    def serves(self, model: str, version: str) -> None:
        """Forget what was said of another version."""
        if self._told is not None and (self._told.model, self._told.version) != (model, version):
            self._told = None

    def tell(self, report: "MonitoringReport") -> None:
        """Take what a check came to; a check that had no whole window changes only the counts."""
        told = self._told
        if told is None or (told.model, told.version) != (report.model_name, report.model_version):
            told = _Told(report.model_name, report.model_version)
        drift, performance = dict(told.drift), dict(told.performance)
        if report.drift is not None and report.drift.windows:
            drift[report.drift.method] = report.drift
        if report.performance is not None and report.performance.verdicts:
            performance[report.performance.metric] = report.performance
        self._told = replace(
            told, rows=report.rows, labelled=report.labelled, drift=drift, performance=performance
        )

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges; those of no check have no values."""
        told = self._told
        yield from _counts(told)
        yield from _drift(told)
        yield from _performance(told)


def _counts(told: _Told | None) -> Iterator[GaugeMetricFamily]:
    rows = _family("rows", "Predictions that the monitors' counters hold, of all replicas.")
    labels = _family("labels", "Labels that the monitors' counters hold, of all replicas.")
    if told is not None:
        rows.add_metric([told.model, told.version], told.rows)
        labels.add_metric([told.model, told.version], told.labelled)
    yield rows
    yield labels


def _drift(told: _Told | None) -> Iterator[GaugeMetricFamily]:
    scores = _family("drift_score", "Drift of a feature in the newest window.", "feature", "method")
    thresholds = _family("drift_threshold", "What a feature drifts above.", "feature", "method")
    share = _family("drifted_features_ratio", "Share of features that drifted, newest window.", "method")
    prediction = _family("prediction_drift_score", "Drift of what is answered, newest window.", "method")
    label = _family("label_drift_score", "Drift of the labels, in the newest window.", "method")
    breached = _family("drift_breached", "1 where the newest check breached, else 0.", "method")
    ends = _family("drift_window_end_timestamp_seconds", "Last event time of the newest window.", "method")
    for method, report in told.drift.items() if told is not None else ():
        assert told is not None
        own, window = [told.model, told.version], report.windows[-1]
        for each in window.features:
            scores.add_metric([*own, each.name, method], each.score)
            if each.threshold is not None:
                thresholds.add_metric([*own, each.name, method], each.threshold)
        share.add_metric([*own, method], len(window.drifted) / max(len(window.features), 1))
        prediction.add_metric([*own, method], window.prediction.score)
        if window.label is not None:
            label.add_metric([*own, method], window.label.score)
        breached.add_metric([*own, method], int(report.result.breached))
        ends.add_metric([*own, method], window.last.timestamp())
    yield from (scores, thresholds, share, prediction, label, breached, ends)


def _performance(told: _Told | None) -> Iterator[GaugeMetricFamily]:
    values = _family("performance", "A measure of the answers, in the newest window.", "measure", "source")
    errors = _family("performance_standard_error", "Of the measure, by chance.", "measure", "source")
    limits = _family("performance_limit", "What is worse breaches.", "measure")
    breached = _family("performance_breached", "1 where the newest check breached, else 0.", "measure")
    if told is not None:
        own = [told.model, told.version]
        for (name, source), measured in _newest_measures(told).items():
            values.add_metric([*own, name, source], measured.value)
            errors.add_metric([*own, name, source], measured.error)
        for name, report in told.performance.items():
            if report.limit is not None:
                limits.add_metric([*own, name], report.limit)
            breached.add_metric([*own, name], int(report.result.breached))
    yield from (values, errors, limits, breached)


def _newest_measures(told: _Told) -> dict[tuple[str, str], "Measured"]:
    """All measures by name and source, each of the newest window that has it."""
    verdicts = [verdict for report in told.performance.values() for verdict in report.verdicts]
    found: dict[tuple[str, str], Measured] = {}
    for verdict in sorted(verdicts, key=lambda each: each.window.last):
        for source, measures in (
            ("measured", verdict.window.measured),
            ("estimated", verdict.window.estimated),
        ):
            found |= {(name, source): each for name, each in measures.items()}
    return found


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}{name}", text, labels=["model", "version", *labels])
