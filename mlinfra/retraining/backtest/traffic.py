"""What one model answers in a replay, and what its monitor says of it."""

import math
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.chunks import DEFAULT_WINDOW, Chunking
from mlinfra.monitoring.monitor import ModelMonitor
from mlinfra.resources.monitoring import DriftPolicy, PerformancePolicy
from mlinfra.retraining.backtest.learner import Learnt
from mlinfra.retraining.triggers import MonitorResult
from mlinfra.training.rows import LabelledRows

FOREVER = 100 * 366 * 86_400
"""Seconds that no chunk of a window of rows is too long for."""


class Traffic:
    """The rows that a model answers, counted by a `ModelMonitor` as they and their labels come.

    Args:
        model: the model.
        rows: the whole group.
        order: positions of the rows that it answers, in order of time.
        chunking: how finely they are counted.
    """

    def __init__(
        self, model: Learnt, rows: LabelledRows, order: NDArray[np.int64], chunking: Chunking
    ) -> None:
        self.model = model
        self._rows, self._order = rows, order
        self._times = rows.time[order]
        self._monitor = ModelMonitor(model.profile, model_version=str(model.number), chunking=chunking)
        self._observed = self._labelled = 0
        known = set(model.profile.classes)
        self._measurable = np.array([each in known for each in rows.classes], np.bool_)

    def checked(
        self,
        drift: DriftPolicy | None,
        performance: PerformancePolicy | None,
        *,
        now: np.datetime64,
        labelled_until: np.datetime64,
    ) -> list[MonitorResult]:
        """What the monitors say of the rows up to a time, with the labels that are known by then."""
        self._observe(int(np.searchsorted(self._times, now, side="right")))
        self._label(int(np.searchsorted(self._times, labelled_until, side="right")))
        report = self._monitor.check(drift, performance, now=moment(now))
        return [part.result for part in (report.drift, report.performance) if part is not None]

    def _observe(self, until: int) -> None:
        rows = self._order[self._observed : until]
        if len(rows):
            self._monitor.observe(self._rows.features[rows], self._outputs(rows), self._nanoseconds(rows))
        self._observed = until

    def _label(self, until: int) -> None:
        rows = self._order[self._labelled : until]
        if self._rows.classes:
            # A class that the model never saw is none that its monitor could count.
            rows = rows[self._measurable[self._rows.label[rows]]]
        if len(rows):
            label = self._rows.label[rows]
            values = [self._rows.classes[each] for each in label] if self._rows.classes else label.tolist()
            self._monitor.label(self._outputs(rows), values, self._nanoseconds(rows))
        self._labelled = max(self._labelled, until)

    def _outputs(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.model.answers[rows][:, list(self.model.outputs)]

    def _nanoseconds(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        nanoseconds: NDArray[np.int64] = self._rows.time[rows].astype("datetime64[ns]").astype(np.int64)
        return nanoseconds


def chunking_for(drift: DriftPolicy | None, performance: PerformancePolicy | None) -> Chunking:
    """The coarsest counts that keep the windows of both checks apart."""
    windows = [(each.window or DEFAULT_WINDOW) for each in (drift, performance) if each is not None]
    rows = [each.rows for each in windows if each.rows is not None]
    seconds = [each.seconds for each in windows if each.seconds is not None]
    # Windows of time alone are bounded by their length, however many rows they have.
    return Chunking(
        rows=math.gcd(*rows) if rows else 100_000_000,
        most_seconds=math.gcd(*seconds) if seconds else FOREVER,
    )


def moment(time: np.datetime64) -> datetime:
    """A time of the rows, UTC without a zone, as python tells it."""
    return datetime.fromtimestamp(time.astype("datetime64[us]").astype(np.int64) / 1e6, tz=UTC)
