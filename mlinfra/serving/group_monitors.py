"""Checks the newest rows of a feature group, which a model answers for that alone, against policies.

It is for rows that no server is asked of, such as those of batch predictions, and for labels that come into
the feature store. One thread reads, answers and counts, with a session of the model of its own: requests
wait for neither. A check of rows that were checked before is answered from what is remembered.
"""

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.errors import InvalidInputError, MlinfraError
from mlinfra.features import get_feature_store
from mlinfra.models.learnt import LearntModel
from mlinfra.monitoring.chunks import DEFAULT_WINDOW, CountedWindow, moment
from mlinfra.monitoring.monitor import MonitoringReport, labels_waited_for, report_on_windows
from mlinfra.monitoring.profile import ProfileError, ReferenceProfile
from mlinfra.resources.monitoring import DriftPolicy, PerformancePolicy, WindowedCheck
from mlinfra.resources.monitoring_sources import FeatureGroupSource
from mlinfra.retraining.windows import windows_looked_at
from mlinfra.serving.batch_prediction import SAMPLES_AT_ONCE, answers_to
from mlinfra.serving.batch_sources import RowBatch, refuse_missing_columns, rows_of_files
from mlinfra.serving.errors import (
    QueueFullError,
    RequestError,
    StoreUnavailableError,
    UnsupportedError,
    UnusableValueError,
)
from mlinfra.serving.label_book import checked_label
from mlinfra.serving.model_monitors import profile_of
from mlinfra.serving.newest_group_rows import NewestRows, newest_rows, window_borders, windows_kept
from mlinfra.serving.served_model import ServedModel
from mlinfra.serving.settings import ServingSettings
from mlinfra.serving.windows import Floats, Int64s, WindowStream

if TYPE_CHECKING:
    from mlinfra.features import FeatureStore
    from mlinfra.features.commits import CommitMark

REMEMBERED = 8
"""Reports."""
MAX_WAITING = 8
"""Different checks that may wait for one another."""


@dataclass(frozen=True, slots=True)
class GroupCheck:
    """What is asked of a group.

    Attributes:
        source: which rows.
        drift, performance: what is watched.
        now: the time of the check, in event time; that of the newest row where None.
    """

    source: FeatureGroupSource
    drift: DriftPolicy | None
    performance: PerformancePolicy | None
    now: datetime | None = None

    @property
    def policies(self) -> list[WindowedCheck]:
        return [each for each in (self.drift, self.performance) if each is not None]

    @property
    def key(self) -> str:
        """The same for the same question."""
        parts = [each.to_wire() if each is not None else None for each in (self.drift, self.performance)]
        return json.dumps([self.source.to_wire(), *parts, str(self.now)], sort_keys=True)


@dataclass(frozen=True, slots=True)
class _Answering:
    """A model that answers the rows of groups, beside the one that answers requests."""

    model: ServedModel
    learnt: LearntModel
    profile: ReferenceProfile


@dataclass(frozen=True, slots=True)
class _Answered:
    """Rows in order of time; the label of one that has none is None."""

    times: Int64s
    features: Floats
    outputs: NDArray[np.float32]
    labels: NDArray[np.object_]


class GroupMonitors:
    """Checks of feature groups; `ask` is called by one thread, and all else done by another.

    Args:
        settings: where the feature store is, and what is done about missing values.
        thread: makes the checks, one at a time; one of its own where None.
    """

    def __init__(self, settings: ServingSettings, thread: ThreadPoolExecutor | None = None) -> None:
        self._settings = settings
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="group-checks")
        self._waiting: dict[str, Future[MonitoringReport]] = {}
        self._store: FeatureStore | None = None
        self._answering: _Answering | None = None
        self._reports: OrderedDict[tuple[str, str, CommitMark], MonitoringReport] = OrderedDict()

    def ask(self, model: ServedModel, check: GroupCheck) -> "Future[MonitoringReport]":
        """Have a check made; one that is waited for already is not made twice.

        Raises:
            QueueFullError: as many wait as may wait.
        """
        self._waiting = {key: each for key, each in self._waiting.items() if not each.done()}
        key = f"{model.file.sha256} {model.file.version} {check.key}"
        if key not in self._waiting:
            if len(self._waiting) >= MAX_WAITING:
                raise QueueFullError(f"{MAX_WAITING} checks of feature groups wait already")
            self._waiting[key] = self._thread.submit(self._checked, model, check)
        return self._waiting[key]

    def close(self) -> None:
        """Make no more checks."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _checked(self, model: ServedModel, check: GroupCheck) -> MonitoringReport:
        """The report.

        Raises:
            UnsupportedError: the model has no reference profile, or the server no feature store.
            UnusableValueError: the group has no such rows; the message tells what is wrong.
            StoreUnavailableError: the feature store does not answer.
        """
        try:
            return self._report(self._answers(model), check)
        except RequestError:
            raise
        except ProfileError as error:
            raise UnsupportedError(f"version {model.file.version} is not watched: {error}") from error
        except InvalidInputError as error:
            raise UnusableValueError(str(error)) from error
        except MlinfraError as error:
            raise StoreUnavailableError(str(error)) from error

    def _answers(self, model: ServedModel) -> _Answering:
        if self._answering is None or self._answering.model.file is not model.file:
            profile, learnt = profile_of(model.file)
            self._answering = _Answering(ServedModel(model.file), learnt, profile)
        return self._answering

    def _report(self, answering: _Answering, check: GroupCheck) -> MonitoringReport:
        if self._settings.feature_store_uri is None:
            raise UnsupportedError(
                "this server reads no feature store: set MLINFRA_FEATURE_STORE_URI, for all servers in the "
                "operator's environment"
            )
        if self._store is None:
            self._store = get_feature_store(self._settings.feature_store_uri)
        name = check.source.name or answering.learnt.feature_group
        if name is None:
            raise UnusableValueError("the model tells no group that it learnt from: give featureGroup.name")
        files, mark = self._store.offline_files_since(name, None)
        file = answering.model.file
        key = (f"{file.sha256} {file.version}", check.key, mark)
        if key not in self._reports:
            refuse_missing_columns(files.group, answering.learnt.features)
            label = check.source.label
            if label is not None:
                refuse_missing_columns(files.group, [label])
            elif answering.learnt.label in files.group.features:
                label = answering.learnt.label
            learnt = answering.learnt
            chosen = newest_rows(files, check.policies, learnt.features, window=learnt.window, now=check.now)
            self._reports[key] = self._counted(answering, check, chosen, label)
            while len(self._reports) > REMEMBERED:
                self._reports.popitem(last=False)
        return self._reports[key]

    def _counted(
        self, answering: _Answering, check: GroupCheck, chosen: NewestRows | None, label: str | None
    ) -> MonitoringReport:
        rows = self._read(answering, chosen, label) if chosen is not None else None
        now = chosen.now if chosen is not None else check.now or moment(0)
        file = answering.model.file
        return report_on_windows(
            answering.profile,
            _windows(answering.profile, rows, chosen),
            check.drift,
            check.performance,
            model_name=file.name,
            model_version=file.version,
            rows=len(rows.times) if rows is not None else 0,
            labelled=sum(each is not None for each in rows.labels) if rows is not None else 0,
            now=now,
        )

    def _read(self, answering: _Answering, chosen: NewestRows, label: str | None) -> _Answered | None:
        """The rows that have a whole window, answered; None where there are none."""
        learnt, settings = answering.learnt, self._settings
        stream = WindowStream(
            learnt.features, learnt.window, policy=settings.missing, defaults=settings.defaults
        )
        parts: list[_Answered] = []
        batches = rows_of_files(chosen.files, learnt.features, also=[] if label is None else [label])
        for batch in _pieces(batches):
            assert batch.times is not None
            whole, windows = stream.add(batch.entities, batch.times, batch.values)
            whole, windows = whole[wanted := batch.times[whole] >= chosen.first], windows[wanted]
            labels = np.full(len(whole), None, np.object_)
            if label is not None:
                given = batch.keys.column(label).take(whole).to_pylist()
                labels[:] = [_label(each, label, learnt) for each in given]
            outputs = answers_to(answering.model, windows)
            parts.append(_Answered(batch.times[whole], batch.values[whole], outputs, labels))
        if not parts:
            return None
        return _Answered(
            np.concatenate([each.times for each in parts]),
            np.concatenate([each.features for each in parts]),
            np.concatenate([each.outputs for each in parts]),
            np.concatenate([each.labels for each in parts]),
        )


def _windows(
    profile: ReferenceProfile, rows: _Answered | None, chosen: NewestRows | None
) -> Callable[[WindowedCheck], Sequence[CountedWindow]]:
    """Counts the newest windows that a policy looks at."""

    def windows_of(policy: WindowedCheck) -> Sequence[CountedWindow]:
        if rows is None or chosen is None:
            return []
        borders = window_borders(
            rows.times,
            policy.window or DEFAULT_WINDOW,
            windows_kept(policy),
            chosen.now,
            start=chosen.first,
        )
        least = labels_waited_for(policy)
        labelled = [sum(each is not None for each in rows.labels[low:high]) >= least for low, high in borders]
        if least and True in labelled:
            borders = borders[: len(borders) - labelled[::-1].index(True)]
        return [_window(profile, rows, low, high) for low, high in borders[-windows_looked_at(policy) :]]

    return windows_of


def _window(profile: ReferenceProfile, rows: _Answered, low: int, high: int) -> CountedWindow:
    outputs, labels = rows.outputs[low:high], rows.labels[low:high]
    known = np.array([each is not None for each in labels], np.bool_)
    counts = profile.count_matrix(rows.features[low:high], outputs)
    if known.any():
        counts = counts + profile.count_labels(outputs[known], labels[known].tolist())
    return CountedWindow(moment(int(rows.times[low])), moment(int(rows.times[high - 1])), counts)


def _pieces(batches: Iterator[RowBatch]) -> Iterator[RowBatch]:
    """The same rows, so few at a time that their windows fit in memory."""
    for batch in batches:
        for start in range(0, len(batch.values), SAMPLES_AT_ONCE):
            part = slice(start, start + SAMPLES_AT_ONCE)
            times = batch.times[part] if batch.times is not None else None
            keys = batch.keys.slice(start, SAMPLES_AT_ONCE)
            yield RowBatch(keys, batch.entities[part], times, batch.values[part])


def _label(given: Any, column: str, learnt: LearntModel) -> Any:
    if given is None or (isinstance(given, float) and math.isnan(given)):
        return None
    return checked_label(column, given, learnt)
