"""What was predicted, on its way to the prediction log and the monitor: never on a request's path.

Requests leave what was predicted in a bounded queue; one thread takes all of it every few milliseconds.
Labels and checks go through the same queue: a label never overtakes the prediction that it is of, and the
labels of calls that came together are kept together before any of them is acknowledged.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

from mlinfra.serving.errors import QueueFullError
from mlinfra.serving.served_model import ServedModel
from mlinfra.serving.tensors import Array

logger = logging.getLogger(__name__)

TAKE_SECONDS = 0.05
Key = str | int


def prediction_ids(request: str, rows: int) -> list[str]:
    """ID of each prediction of a request: the request's, with the row's number where there are several."""
    return [request] if rows == 1 else [f"{request}:{row}" for row in range(rows)]


@dataclass(slots=True)
class Observed:
    """The predictions of one request.

    Attributes:
        model: what predicted.
        id: of the request; see `prediction_ids`.
        event_time: nanoseconds since 1970 in UTC.
        inputs, outputs: arrays of the model's tensors; the first axis has the rows.
        rows: number of predictions.
        entities: key of each row; None where the client gave the tensors.
        sequence: of its first row among all that the server predicted; the observer tells it.
        repeated: whether predictions of this ID were made before, as where a client asked once more: they
            count once.
        checksum: of what was asked, where the client gave the ID; see `KnownIds`.
    """

    model: ServedModel
    id: str
    event_time: int
    inputs: Mapping[str, Array]
    outputs: Sequence[Array]
    rows: int
    entities: Sequence[Key] | None = None
    sequence: int = 0
    repeated: bool = False
    checksum: int | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """What turned out to be true.

    Attributes:
        id: of the prediction.
        label: class or value.
    """

    id: str
    label: Any


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """What became of the labels of one call.

    Attributes:
        accepted: how many were new.
        repeated: IDs that had the same label before; they do not count again.
        conflicting: IDs that had another label before; the first one stays.
        unknown: IDs of predictions that the server does not know, or no longer.
        uncounted: IDs whose label is kept, and counts in no window: the prediction is too old, or of a
            version that the server does not serve.
    """

    accepted: int
    repeated: tuple[str, ...] = ()
    conflicting: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()


class Sink(Protocol):
    """Takes what was predicted; called by one thread."""

    def observe(self, batch: Sequence[Observed]) -> None:
        """Take predictions."""

    def tick(self) -> None:
        """Do what is due."""

    def close(self) -> None:
        """Keep what there is."""


KeepLabels = Callable[[Sequence[Sequence[Label]]], list[FeedbackResult]]
"""Keeps the labels of several calls, and tells what became of each call's."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """Labels of one call, and the result that it waits for."""

    labels: Sequence[Label]
    result: "Future[FeedbackResult]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Work:
    """What the thread is to do between two other things, and the result that is waited for."""

    work: Callable[[], Any]
    result: "Future[Any]" = field(default_factory=Future)


Item = Observed | Feedback | Work


class Observer:
    """The queue, and the thread behind it.

    Args:
        sinks: take predictions, in order.
        keep_labels: None where no labels can be taken.
        max_rows: predictions that may wait, more are dropped; and labels that may, more are refused.
        on_drop: told how many were dropped.
        clock: numbers that are higher after a restart than before it.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        keep_labels: KeepLabels | None,
        *,
        max_rows: int,
        on_drop: Callable[[int], None],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._sinks = sinks
        self._keep_labels = keep_labels
        self._max_rows = max_rows
        self._on_drop = on_drop
        self._queue: deque[Item] = deque()
        self._rows = 0
        self._labels = 0
        self._clock = clock
        # Where the clock is set back, numbers go on from the start: none below it would be counted.
        self._sequence = clock()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._dropping = False
        self._thread = threading.Thread(target=self._run, name="observations", daemon=True)
        self._thread.start()

    @property
    def takes_labels(self) -> bool:
        """Whether labels can be kept."""
        return self._keep_labels is not None

    def offer(self, observed: Observed) -> bool:
        """Take predictions, or drop and count them; never waits. Whether they were taken."""
        with self._lock:
            full = self._rows + observed.rows > self._max_rows
            if not full:
                observed.sequence = self._sequence = max(self._sequence + 1, self._clock())
                self._sequence += observed.rows
                self._rows += observed.rows
                self._queue.append(observed)
        if full:
            self._on_drop(observed.rows)
            if not self._dropping:
                self._dropping = True
                logger.warning(
                    "predictions are neither logged nor counted: more than %d wait; "
                    "mlinfra_serving_prediction_log_rows_total counts them as dropped",
                    self._max_rows,
                )
        return not full

    def feedback(self, labels: Sequence[Label]) -> "Future[FeedbackResult]":
        """Take labels; the result comes when they are kept. Where it is cancelled before, they are not.

        Raises:
            QueueFullError: too many wait.
        """
        given = Feedback(labels)
        with self._lock:
            if self._labels and self._labels + len(labels) > self._max_rows:
                raise QueueFullError(f"{self._labels} labels wait already; try again later")
            self._labels += len(labels)
            self._queue.append(given)
        self._wake.set()
        return given.result

    def call(self, work: Callable[[], Any]) -> "Future[Any]":
        """Have the thread do something after all that was given before, unless the result is cancelled."""
        given = Work(work)
        self._put(given)
        return given.result

    def close(self) -> None:
        """Take what waits, keep it, and end."""
        self._closed = True
        self._wake.set()
        self._thread.join()
        for sink in self._sinks:
            sink.close()

    def _put(self, item: Item) -> None:
        with self._lock:
            self._queue.append(item)
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(TAKE_SECONDS)
            self._wake.clear()
            closed = self._closed
            self._take()
            if closed:
                return

    def _take(self) -> None:
        with self._lock:
            taken = list(self._queue)
            self._queue.clear()
            self._rows = self._labels = 0
            self._dropping = False
        for run in _runs(taken):
            if isinstance(run[0], Feedback):
                self._keep([each for each in run if isinstance(each, Feedback)])
            elif isinstance(run[0], Work):
                for each in run:
                    if isinstance(each, Work):
                        _settle(each.result, each.work)
            else:
                observed = [each for each in run if isinstance(each, Observed)]
                for sink in self._sinks:
                    _guarded(lambda sink=sink, observed=observed: sink.observe(observed))  # type: ignore[misc]
        for sink in self._sinks:
            _guarded(sink.tick)

    def _keep(self, given: Sequence[Feedback]) -> None:
        keep = self._keep_labels
        calls = [each for each in given if each.result.set_running_or_notify_cancel()]
        if not calls:
            return
        try:
            if keep is None:
                raise RuntimeError("no labels are taken")
            results = keep([each.labels for each in calls])
        except Exception as error:
            for each in calls:
                each.result.set_exception(error)
            return
        for each, result in zip(calls, results, strict=True):
            each.result.set_result(result)


def _runs(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Items of one kind: of those between two works first the predictions, then all labels at once."""
    for works, part in groupby(items, key=lambda item: isinstance(item, Work)):
        between = list(part)
        for kind in (Work,) if works else (Observed, Feedback):
            if run := [each for each in between if isinstance(each, kind)]:
                yield run


def _settle(result: "Future[Any]", work: Callable[[], Any]) -> None:
    # Who asked may have left; from here on nobody can.
    if not result.set_running_or_notify_cancel():
        return
    try:
        result.set_result(work())
    except Exception as error:
        result.set_exception(error)


def _guarded(work: Callable[[], None]) -> None:
    """Do it; a fault here must end neither the thread nor the answers of the server."""
    try:
        work()
    except Exception:
        logger.exception("predictions could not be observed")
