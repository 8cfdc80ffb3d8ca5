"""Labels of predictions: kept in a feature group before they are acknowledged, each counted once.

A label belongs to a prediction that this server remembers, or that the prediction log has: of another
replica, or from before a restart. It is stored in ``labels_<model>`` under the prediction's ID and event
time, so that the same label again, here or at another replica, is the same row. Labels that others write
to a feature group are taken from there and kept in the same way. Replicas keep labels one after the other,
so that one that several hear of counts at one of them.
"""

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlinfra.errors import MlinfraError
from mlinfra.features import FeatureStore, PartitionBy, UnknownFeatureGroup
from mlinfra.features.files import storage_errors
from mlinfra.features.timerange import TimeRange
from mlinfra.models.learnt import LearntModel
from mlinfra.serving.errors import UnusableValueError
from mlinfra.serving.known_ids import KnownIds
from mlinfra.serving.label_rows import LabelKey, LabelRows
from mlinfra.serving.log_rows import (
    CHECKSUM_COLUMN,
    ENTITY_COLUMN,
    ID_COLUMN,
    LABEL_COLUMN,
    OUTPUT_PREFIX,
    PREDICTION_COLUMN,
    REPLICA_COLUMN,
    SEQUENCE_COLUMN,
    TIME_COLUMN,
    TIME_TYPE,
    VERSION_COLUMN,
    numbers_of_outputs,
    output_columns,
    remembered_outputs,
)
from mlinfra.serving.observations import FeedbackResult, Label, Observed, prediction_ids
from mlinfra.serving.remembered import MICROSECONDS, Remembered, RememberedPredictions, entity_key

if TYPE_CHECKING:
    from mlinfra.features.commits import CommitMark
    from mlinfra.features.group_files import GroupFiles

logger = logging.getLogger(__name__)

LABELS_PREFIX = "labels"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A prediction whose label has just become known.

    Attributes:
        sequence: order among the labels that this server kept.
    """

    id: str
    version: str
    event_time: int
    outputs: np.ndarray[Any, np.dtype[np.float32]]
    label: Any
    sequence: int


class LabelBook:
    """Predictions and labels of one model; of one thread.

    Args:
        store: where predictions are logged and labels are kept.
        group: name of the group of the labels.
        log: name of the group of the prediction log.
        replica: which server takes the labels.
        ids: told of predictions that are in the log.
        max_predictions: how many are remembered; the label of an older one is unknown.
        on_labels: told of new labels, once they are kept; tells the IDs of those that no monitor counts.
        before_keep: logs predictions of these IDs that wait to be: a label that is kept must not be of one
            that nobody knows after the server was killed.
        sources: groups that others write labels to.
        seconds: how often these are read.
        learnt: what the served model learnt, which their labels are checked by.
        count: told what became of them, as the outcome of feedback is told.
        clock: numbers that are higher after a restart than before it.
        seconds_now: seconds.
    """

    def __init__(
        self,
        store: FeatureStore,
        group: str,
        *,
        log: str,
        replica: str,
        ids: KnownIds,
        max_predictions: int,
        on_labels: Callable[[Sequence[Labelled]], Set[str]],
        before_keep: Callable[[Set[str]], None] = lambda _ids: None,
        sources: Sequence[LabelRows] = (),
        seconds: float = 5.0,
        learnt: Callable[[], LearntModel | None] = lambda: None,
        count: Callable[[str, int], None] = lambda _outcome, _labels: None,
        clock: Callable[[], int] = time.time_ns,
        seconds_now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._log = log
        self.group = group
        self._replica = replica
        self._ids = ids
        self._clock = clock
        # Numbers rise from the start on, also where the clock is set back.
        self._sequence = clock()
        self._max = max_predictions
        self._on_labels = on_labels
        self._before_keep = before_keep
        self._known = RememberedPredictions(max_predictions)
        self._opened = False
        self._marks: dict[str, CommitMark] = {}
        # Labels of many days come at once; by months, old ones can go.
        self._partition: PartitionBy = "month"
        self._sources = sources
        self._seconds = seconds
        self._seconds_now = seconds_now
        self._due = seconds_now() + seconds
        self._learnt = learnt
        self._count = count
        self._told: OrderedDict[LabelKey, Any] = OrderedDict()
        self._matched: dict[str, Any] = {}
        self._unchecked: tuple[int, int] | None = None
        self._problem: str | None = None

    def open(self) -> None:
        """Know what was predicted before a restart: the same request again is no new one."""
        if self._opened:
            return
        try:
            self._read_predictions()
            self._opened = True
        except MlinfraError as error:
            logger.warning("the prediction log cannot be read yet: %s", error)

    def observe(self, batch: Sequence[Observed]) -> None:
        """Remember predictions; of one ID the first one stays, and the others are marked."""
        self.open()
        for each in batch:
            if each.repeated:
                # The book may have forgotten it, and that it has a label.
                continue
            each.repeated = prediction_ids(each.id, each.rows)[0] in self._known
            matrix = remembered_outputs(each)
            version = each.model.file.version
            for row, one in enumerate(prediction_ids(each.id, each.rows)):
                entity = None if each.entities is None else str(each.entities[row])
                self._remember(one, Remembered(each.event_time, version, matrix[row], entity))

    def tick(self) -> None:
        """Keep the labels that others wrote, where it is time."""
        if not self._sources or self._seconds_now() < self._due:
            return
        self._due = self._seconds_now() + self._seconds
        try:
            self._keep_told()
            self._problem = None
        except MlinfraError as error:
            if str(error) != self._problem:
                logger.warning("labels of feature groups wait: %s", error)
            self._problem = str(error)

    def close(self) -> None:
        """All labels are kept already."""

    def keep(self, calls: Sequence[Sequence[Label]]) -> list[FeedbackResult]:
        """Keep the labels of several calls, and tell what became of each call's.

        Raises:
            FeatureStoreUnavailable, CorruptFeatures: they cannot be kept; none counts.
        """
        wanted = {each.id for labels in calls for each in labels}
        self._before_keep(wanted)
        if not all(one in self._known for one in wanted):
            self._read_predictions()
        fresh: dict[str, Labelled] = {}
        # Another replica may hear of the same label at the same time.
        with storage_errors(self._store.uri), self._store.storage.exclusive(f"_locks/{self.group}"):
            self._read_labels()
            results = [self._sorted(labels, fresh) for labels in calls]
            if fresh:
                self._write(list(fresh.values()))
        if fresh:
            for each in fresh.values():
                self._known.label(each.id, each.label)
            uncounted = self._on_labels(list(fresh.values()))
            results = [_with_uncounted(*each, uncounted) for each in zip(calls, results, strict=True)]
        return results

    def _keep_told(self) -> None:
        """Keep what others wrote of predictions that are known."""
        self.open()
        for source in self._sources:
            for key, label in source.new():
                self._told[key] = label
                self._told.move_to_end(key)
                for one in [key] if isinstance(key, str) else self._known.of_entity(key):
                    if one in self._known:
                        self._matched[one] = label
        if self._told:
            self._read_predictions()
        while len(self._told) > self._max:
            self._told.popitem(last=False)
        learnt, usable, refused = self._learnt(), [], []
        for one, label in self._matched.items():
            try:
                usable.append(Label(one, checked_label(one, label, learnt)))
            except UnusableValueError as error:
                refused.append(str(error))
        if usable:
            result = self.keep([usable])[0]
            self._count("accepted", result.accepted)
            self._count("conflicting", len(result.conflicting))
            if result.uncounted:
                self._count("uncounted", len(result.uncounted))
        if refused:
            self._count("refused", len(refused))
            logger.warning("%d labels of feature groups are refused: %s", len(refused), refused[0])
        self._matched.clear()

    def _sorted(self, labels: Sequence[Label], fresh: dict[str, Labelled]) -> FeedbackResult:
        """What becomes of one call's labels; the new ones are added to ``fresh``."""
        accepted = 0
        repeated: list[str] = []
        conflicting: list[str] = []
        unknown: list[str] = []
        for each in labels:
            prediction = self._known.get(each.id)
            if prediction is None:
                unknown.append(each.id)
                continue
            before = fresh[each.id].label if each.id in fresh else prediction.label
            if before is None:
                accepted += 1
                fresh[each.id] = Labelled(
                    each.id,
                    prediction.version,
                    prediction.event_time,
                    prediction.outputs,
                    each.label,
                    self._next(),
                )
            else:
                (repeated if before == each.label else conflicting).append(each.id)
        return FeedbackResult(accepted, tuple(repeated), tuple(conflicting), tuple(unknown))

    def _next(self) -> int:
        self._sequence = max(self._sequence + 1, self._clock())
        return self._sequence

    def _write(self, labels: Sequence[Labelled]) -> None:
        times = pa.array([each.event_time // MICROSECONDS for each in labels], pa.int64())
        table = pa.table(
            {
                ID_COLUMN: pa.array([each.id for each in labels], pa.string()),
                TIME_COLUMN: times.cast(TIME_TYPE),
                VERSION_COLUMN: pa.array([each.version for each in labels], pa.string()),
                LABEL_COLUMN: pa.array([each.label for each in labels], _label_type(labels)),
                REPLICA_COLUMN: pa.array([self._replica] * len(labels), pa.string()),
                SEQUENCE_COLUMN: pa.array([each.sequence for each in labels], pa.int64()),
            }
        )
        # Versions may have different numbers of them.
        width = max(len(each.outputs) for each in labels)
        outputs = np.full((len(labels), width), np.nan, np.float32)
        for row, each in enumerate(labels):
            outputs[row, : len(each.outputs)] = each.outputs
        for place in range(outputs.shape[1]):
            values = pa.array(np.ascontiguousarray(outputs[:, place]))
            table = table.append_column(f"{OUTPUT_PREFIX}{place}", values)
        self._store.write_offline_features(
            self.group, table, entity_column=ID_COLUMN, partition_by=self._partition
        )

    def _remember(self, one: str, prediction: Remembered) -> None:
        if not self._known.add(one, prediction):
            return
        keys: list[LabelKey] = [one]
        if prediction.entity is not None:
            keys.append(entity_key(prediction.entity, prediction.event_time))
        for key in keys:
            if key in self._told:
                self._matched[one] = self._told[key]

    def _read_labels(self) -> None:
        """Labels that this or another replica kept since the last time, or of predictions not known then."""
        try:
            group = self._store.get_feature_group(self.group)
            self._partition = group.partition_by
            if REPLICA_COLUMN not in group.columns:
                return
        except UnknownFeatureGroup:
            return
        columns = [ID_COLUMN, LABEL_COLUMN, REPLICA_COLUMN]
        if self.group not in self._marks:
            # Of labels from before, those of predictions that are known suffice.
            self._unchecked = self._known.period
            _, self._marks[self.group] = self._store.offline_files_since(self.group, None)
        for batch in self._since(self.group, lambda _: columns):
            self._know_labels(batch)
        if self._unchecked is not None:
            files, _ = self._store.offline_files_since(self.group, None)
            first, last = (np.datetime64(moment // MICROSECONDS, "us") for moment in self._unchecked)
            period = TimeRange(first, last + np.timedelta64(1, "us"), files.group.time_type)
            for _, batch in files.within(period).batches(columns):
                self._know_labels(batch)
            self._unchecked = None

    def _know_labels(self, batch: pa.RecordBatch) -> None:
        # Those without a replica were written by others, and count nowhere yet.
        kept = batch.filter(pc.is_valid(batch.column(REPLICA_COLUMN)))
        for one, label in zip(
            kept.column(ID_COLUMN).to_pylist(), kept.column(LABEL_COLUMN).to_pylist(), strict=True
        ):
            known = self._known.get(one)
            if known is not None and known.label is None:
                self._known.label(one, label)

    def _read_predictions(self) -> None:
        """Predictions that another replica, or this one before a restart, logged since the last time."""
        for batch in self._since(self._log, _columns_of_predictions):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            outputs = numbers_of_outputs(columns, len(batch))
            if CHECKSUM_COLUMN in batch.schema.names:
                checksums = batch.column(CHECKSUM_COLUMN).to_pylist()
            else:
                checksums = [None] * len(batch)
            ids = batch.column(ID_COLUMN).to_pylist()
            self._ids.know(zip(ids, checksums, strict=True))
            rows = zip(
                ids,
                batch.column(TIME_COLUMN).cast(pa.int64()).to_pylist(),
                batch.column(VERSION_COLUMN).to_pylist(),
                batch.column(ENTITY_COLUMN).to_pylist(),
                strict=True,
            )
            for row, (one, moment, version, entity) in enumerate(rows):
                if one in self._known:
                    continue
                event_time = moment * MICROSECONDS
                self._remember(one, Remembered(event_time, version, outputs[row], entity))
                # Its label may have been passed over.
                first, last = self._unchecked or (event_time, event_time)
                self._unchecked = min(first, event_time), max(last, event_time)

    def _since(
        self, name: str, columns: Callable[[Sequence[str]], Sequence[str]]
    ) -> Iterator[pa.RecordBatch]:
        """Rows of a group that were written since the last time; none where there is no such group."""
        try:
            files, mark = self._files_since(name)
        except UnknownFeatureGroup:
            return
        if mark == self._marks.get(name):
            return
        if name == self._log:
            # All files may have come since: of a mark whose commit a vacuum deleted, nothing can be told.
            files = files.newest(self._max)
        for _, batch in files.batches(columns(files.group.columns)):
            yield batch
        self._marks[name] = mark

    def _files_since(self, name: str) -> "tuple[GroupFiles, CommitMark]":
        return self._store.offline_files_since(name, self._marks.get(name))


def _columns_of_predictions(known: Sequence[str]) -> Sequence[str]:
    checksum = [CHECKSUM_COLUMN] if CHECKSUM_COLUMN in known else []
    outputs = output_columns(known) or [name for name in known if name == PREDICTION_COLUMN]
    return [ID_COLUMN, TIME_COLUMN, VERSION_COLUMN, ENTITY_COLUMN, *checksum, *outputs]


def checked_label(one: Any, label: Any, learnt: LearntModel | None) -> Any:
    """A label as the model's classes, or its unit, have it.

    Raises:
        UnusableValueError: it is none that this model can be measured by.
    """
    classes = learnt.classes if learnt is not None else ()
    if classes:
        for known in classes:
            # Not equality alone: a text is no number, and true is not 1.
            if known == label and isinstance(known, bool) == isinstance(label, bool):
                return known
        raise UnusableValueError(
            f"label {label!r:.80} of {one!r:.80} is none of the classes {list(classes)!r:.200}"
        )
    if type(label) not in (int, float) or not math.isfinite(label):
        raise UnusableValueError(f"label {label!r:.80} of {one!r:.80} is no number")
    return float(label)


def _with_uncounted(labels: Sequence[Label], result: FeedbackResult, uncounted: Set[str]) -> FeedbackResult:
    own = tuple(dict.fromkeys(each.id for each in labels if each.id in uncounted))
    return replace(result, uncounted=own)


def _label_type(labels: Sequence[Labelled]) -> pa.DataType:
    return pa.infer_type([each.label for each in labels])
