"""Watches one version of a model: counts what it is asked and answers, and checks that against policies."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.answers import answer_window
from mlinfra.monitoring.chunk_store import ChunkStore
from mlinfra.monitoring.chunks import (
    Chunk,
    Chunking,
    CountedWindow,
    Kept,
    WindowTooLongError,
    added,
    chunk_at,
    moment,
    stretches_of,
    whole_windows,
    with_labels,
)
from mlinfra.monitoring.coarsening import coarsened
from mlinfra.monitoring.counts import Counts
from mlinfra.monitoring.drift import DriftReport, check_drift
from mlinfra.monitoring.performance import PerformanceReport, judge_performance
from mlinfra.monitoring.profile import ReferenceProfile
from mlinfra.resources.monitoring import DriftPolicy, PerformancePolicy, WindowedCheck
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, RetrainingTrigger
from mlinfra.retraining.windows import windows_looked_at

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MonitoringReport:
    """What a model's monitors say.

    Attributes:
        model_name, model_version: what was watched.
        profile: ID of its reference profile.
        rows: predictions that are counted.
        labelled: labels that are.
        drift, performance: what was asked for.
    """

    model_name: str
    model_version: str
    profile: str
    rows: int
    labelled: int
    drift: DriftReport | None = None
    performance: PerformanceReport | None = None

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        wire: dict[str, Any] = {
            "modelName": self.model_name,
            "modelVersion": self.model_version,
            "profile": self.profile,
            "rows": self.rows,
            "labelled": self.labelled,
        }
        if self.drift is not None:
            wire["drift"] = self.drift.to_wire()
        if self.performance is not None:
            wire["performance"] = self.performance.to_wire()
        return wire

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "MonitoringReport":
        """What `to_wire` gave."""
        return cls(
            model_name=wire["modelName"],
            model_version=wire["modelVersion"],
            profile=wire["profile"],
            rows=wire["rows"],
            labelled=wire["labelled"],
            drift=DriftReport.of_wire(wire["drift"]) if "drift" in wire else None,
            performance=PerformanceReport.of_wire(wire["performance"]) if "performance" in wire else None,
        )


class ModelMonitor:
    """Counts of one version of a model; of one thread.

    Args:
        profile: what the version learnt from.
        model_name, model_version: what is watched.
        store: where the counts outlive this process, and those of other replicas are; nowhere where None.
        chunking: how finely counts are kept.

    Attributes:
        position: how far in what is counted the counts go, as `keep` was told the last time.

    Raises:
        MonitoringStoreError: the store cannot be read.
    """

    def __init__(
        self,
        profile: ReferenceProfile,
        *,
        model_name: str = "",
        model_version: str = "",
        store: ChunkStore | None = None,
        chunking: Chunking | None = None,
    ) -> None:
        self.profile = profile
        self._model = (model_name, model_version)
        self._store = store
        self._chunking = chunking or Chunking()
        kept = store.own() if store is not None else Kept()
        self._chunks, self._late = kept.chunks, kept.late
        self.position = kept.position
        self._changed = False

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """What this replica counted."""
        return self._chunks

    def observe(
        self,
        features: NDArray[Any],
        outputs: NDArray[np.floating[Any]],
        event_times: NDArray[np.int64],
        known: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count rows that the model answered.

        Args:
            features: in the model's order, (rows, features); NaN is no value.
            outputs: what was answered, finite, (rows, outputs).
            event_times: of each row, nanoseconds since 1970 in UTC, (rows,).
            known: of which rows the features are known, (rows,); all where None.

        Raises:
            ProfileError: the rows are not of this model.
        """
        if not len(outputs):
            return
        stretches = stretches_of(self._chunks, event_times, self._chunking)
        counts = self.profile.count_stretches(features, outputs, [each.rows for each in stretches], known)
        self._chunks = added(self._chunks, zip(stretches, counts, strict=True), self._chunking)
        self._changed = True

    def label(
        self, outputs: NDArray[np.floating[Any]], labels: Sequence[Any], event_times: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Count labels of rows that were observed, each once: who calls this tells repeated ones apart.

        Args:
            outputs: what was answered to them, (rows, outputs).
            labels: class or value of each, (rows,).
            event_times: of the rows, nanoseconds since 1970 in UTC, (rows,).

        Returns:
            Which were counted, (rows,); the rows of the others are not kept, here or at another replica.

        Raises:
            ProfileError: a label is none that the model can be measured by; none is counted.
        """
        places = [chunk_at(self._chunks, int(time)) for time in event_times]
        chunks = list(self._chunks)
        for place in sorted({each for each in places if each is not None}):
            own = np.array([each == place for each in places])
            known = [label for label, mine in zip(labels, own, strict=True) if mine]
            counts = self.profile.count_labels(outputs[own], known)
            chunks[place] = replace(chunks[place], counts=chunks[place].counts + counts)
        self._chunks = tuple(chunks)
        counted = np.array([each is not None for each in places], np.bool_)
        self._changed = self._changed or bool(counted.any())
        if not counted.all():
            late = [label for label, here in zip(labels, counted, strict=True) if not here]
            counted[~counted] = self._label_elsewhere(outputs[~counted], late, event_times[~counted])
        return counted

    def _label_elsewhere(
        self, outputs: NDArray[np.floating[Any]], labels: Sequence[Any], event_times: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Count labels of rows that other replicas counted, such as those that are no more."""
        theirs = [each for kept in (self._store.others() if self._store else ()) for each in kept.chunks]
        counted = np.zeros(len(event_times), np.bool_)
        for row, time in enumerate(event_times.tolist()):
            place = chunk_at(theirs, time)
            if place is not None:
                counts = self.profile.count_labels(outputs[row : row + 1], labels[row : row + 1])
                late = with_labels(self._late, counts, theirs[place])
                self._late = coarsened(late, self._chunking.max_chunks)
                self._changed = counted[row] = True
        return counted

    def keep(self, position: Mapping[str, int] | None = None) -> None:
        """Write what has been counted since the last time, where there is a store.

        Args:
            position: how far in what is counted the counts go now, by names of the caller's own: what came
                after it is to be counted again where the process is killed.

        Raises:
            MonitoringStoreError: it cannot be written; it is tried again the next time.
            CountsFoldedError: another replica took this one for gone: a new monitor goes on, from its
                position, as where the process was killed.
        """
        if position is not None and position != self.position:
            self.position, self._changed = dict(position), True
        if self._store is None:
            return
        if self._changed:
            self._store.keep(Kept(self._chunks, self._late, self.position))
            self._changed = False
        else:
            self._store.renew()

    def fold(self) -> int:
        """Put the counts of replicas that are gone into one file, and tell how many there were.

        Raises:
            MonitoringStoreError: as of `ChunkStore.fold`.
        """
        return self._store.fold(self._chunking.max_chunks) if self._store is not None else 0

    def check(
        self,
        drift: DriftPolicy | None = None,
        performance: PerformancePolicy | None = None,
        *,
        now: datetime | None = None,
    ) -> MonitoringReport:
        """What the monitors of all replicas say together.

        Args:
            drift, performance: what is watched.
            now: the time of the check, in event time; that of the newest row where absent.

        Raises:
            MonitoringStoreError: the counts of other replicas cannot be read.
            CountsFoldedError: as of `keep`.
        """
        own = Kept(self._chunks, self._late)
        kept = self._store.all_with(own) if self._store is not None else [own]
        # Labels alone come first: of chunks with the same borders they belong to the window of the rows.
        replicas = [*(each.late for each in kept), *(each.chunks for each in kept)]
        newest = max((each.last for chunks in replicas for each in chunks), default=None)
        time = now or (moment(newest) if newest is not None else datetime.now(UTC))

        def windows_of(policy: WindowedCheck) -> Sequence[CountedWindow]:
            newest = windows_looked_at(policy)
            return whole_windows(
                replicas, policy.window, now=time, newest=newest, labelled=labels_waited_for(policy)
            )

        name, version = self._model
        return report_on_windows(
            self.profile,
            windows_of,
            drift,
            performance,
            model_name=name,
            model_version=version,
            rows=sum(each.counts.rows for chunks in replicas for each in chunks),
            labelled=sum(each.counts.labelled for chunks in replicas for each in chunks),
            now=time,
        )


def labels_waited_for(policy: WindowedCheck) -> int:
    """How many labels a window must have before those after it are looked at; 0 where none are waited for."""
    waits = isinstance(policy, PerformancePolicy) and policy.estimate == "Never"
    return policy.min_samples if waits else 0


def report_on_windows(
    profile: ReferenceProfile,
    windows_of: Callable[[WindowedCheck], Sequence[CountedWindow]],
    drift: DriftPolicy | None,
    performance: PerformancePolicy | None,
    *,
    model_name: str,
    model_version: str,
    rows: int,
    labelled: int,
    now: datetime,
) -> MonitoringReport:
    """Apply policies to windows.

    Args:
        profile: what the model learnt from.
        windows_of: the newest windows that a policy looks at, in the order of time.
        drift, performance: what is watched.
        model_name, model_version, rows, labelled: as of `MonitoringReport`.
        now: the time of the check, in event time.
    """
    drifted = performed = None
    if drift is not None:
        try:
            drifted = check_drift(profile, windows_of(drift), drift, now=now)
        except WindowTooLongError as error:
            result = _refused(RetrainingTrigger.DRIFT, drift.method, error, now)
            drifted = DriftReport(drift.method, (), result)
        drifted = replace(drifted, result=replace(drifted.result, model_version=model_version))
    if performance is not None:
        try:
            answers = [answer_window(profile, each) for each in windows_of(performance)]
            performed = judge_performance(answers, profile.expected, performance, now=now)
        except WindowTooLongError as error:
            metric = performance.metric
            result = _refused(RetrainingTrigger.PERFORMANCE, metric, error, now)
            performed = PerformanceReport(metric, profile.expected.get(metric), None, (), result)
        performed = replace(performed, result=replace(performed.result, model_version=model_version))
    return MonitoringReport(model_name, model_version, profile.id, rows, labelled, drifted, performed)


def _refused(
    trigger: RetrainingTrigger, metric: str, error: WindowTooLongError, now: datetime
) -> MonitorResult:
    return MonitorResult(trigger, MonitorOutcome.ERROR, now, message=str(error), metric=metric)


def counts_of(chunks: Sequence[Chunk], profile: ReferenceProfile) -> Counts:
    """All counts together."""
    return sum((each.counts for each in chunks), profile.nothing())
