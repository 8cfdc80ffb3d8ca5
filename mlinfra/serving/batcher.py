"""Computes requests that wait together in one batch.

While the model is idle a request is computed at once; while it is busy the others wait and then go
together, so batches grow with the load and nobody waits for company that does not come. A request keeps
the model that it was checked against: a swap takes effect between batches and fails none.

A thread of its own computes. A batch that takes less than handing it over is computed where it is, with what
else was read in the same turn of the event loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mlinfra.serving.errors import QueueFullError
from mlinfra.serving.tensors import Array

QUICK_SECONDS = 0.0005
"""A thread pays for what takes longer: handing over and back takes a good part of this on a busy machine."""


class Model(Protocol):
    """What computes a batch.

    Attributes:
        batch_rows: rows to compute at once at most.
        row_seconds: how long a row takes; infinite where that is not known.
    """

    batch_rows: int
    row_seconds: float

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Outputs, each with the rows of the inputs."""


Answer = asyncio.Future[list[Array]]
Shape = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A request in the queue."""

    model: Model
    inputs: Mapping[str, Array]
    rows: int
    shape: Shape
    answer: Answer


class Queue:
    """Requests in the order in which they came, at most ``limit``; pure, of one thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether no more may wait."""
        return len(self._waiting) >= self._limit

    def put(self, request: Waiting) -> None:
        """Append a request; raises `QueueFullError`."""
        if self.full:
            raise QueueFullError(f"{self._limit} requests wait already; try again later, or add replicas")
        self._waiting.append(request)

    def take(self) -> list[Waiting]:
        """The oldest request, and those right after it that can be computed with it; none whose client left.

        Order is kept: a request that does not fit ends the batch, so that none waits for ever.
        """
        batch: list[Waiting] = []
        rows = 0
        while self._waiting:
            each = self._waiting[0]
            if each.answer.done():
                self._waiting.popleft()
                continue
            if batch and not (
                each.model is batch[0].model
                and each.shape == batch[0].shape
                and rows + each.rows <= each.model.batch_rows
            ):
                break
            batch.append(self._waiting.popleft())
            rows += each.rows
        return batch

    def rows(self) -> int:
        """Rows that wait."""
        return sum(each.rows for each in self._waiting)


OnBatch = Callable[[int, float], None]
"""Told the rows of a batch and the seconds that it took."""


class MicroBatcher:
    """The queue before a model, and what computes behind it.

    Args:
        max_pending: requests that may wait.
        wait_seconds: how long a batch may wait to grow where the one before held several requests.
        on_batch: called in the event loop after each batch.
    """

    def __init__(self, *, max_pending: int, wait_seconds: float = 0.0, on_batch: OnBatch) -> None:
        self._queue = Queue(max_pending)
        self._wait = wait_seconds
        self._on_batch = on_batch
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._loop = asyncio.get_running_loop()
        self._busy = False
        self._crowded = False
        self._due: asyncio.Handle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    async def submit(self, model: Model, inputs: Mapping[str, Array], rows: int) -> list[Array]:
        """What the model computes for one request.

        Raises:
            QueueFullError: too many wait.
            ModelFailedError: the graph failed on these inputs.
        """
        answer: Answer = self._loop.create_future()
        shape = tuple((name, array.shape[1:]) for name, array in inputs.items())
        if self._queue.full and not self._busy:
            self._start()
        self._queue.put(Waiting(model, inputs, rows, shape, answer))
        self._idle.clear()
        if not self._busy and self._due is None:
            if self._wait and self._crowded and self._queue.rows() < model.batch_rows:
                self._due = self._loop.call_later(self._wait, self._start)
            elif is_quick(model, rows):
                self._due = self._loop.call_soon(self._start)
            else:
                self._start()
        return await answer

    async def drained(self) -> None:
        """Wait until nothing is queued or computed."""
        await self._idle.wait()

    def close(self) -> None:
        """End the thread after the batch that it computes."""
        self._thread.shutdown(wait=False)

    def _start(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._busy:
            return
        batch = self._queue.take()
        if not batch:
            self._idle.set()
            return
        if is_quick(batch[0].model, sum(each.rows for each in batch)):
            self._due = self._loop.call_soon(self._start)
            self._tell(batch, *compute(batch, self._loop.time))
            return
        self._busy = True
        future = self._thread.submit(compute, batch, self._loop.time)
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._finish, batch, done))

    def _finish(self, batch: Sequence[Waiting], done: "Future[tuple[list[Outcome], float]]") -> None:
        self._busy = False
        # The next batch is computed while the answers of this one are written.
        self._start()
        self._tell(batch, *done.result())

    def _tell(self, batch: Sequence[Waiting], outcomes: "list[Outcome]", seconds: float) -> None:
        self._crowded = len(batch) > 1
        self._on_batch(sum(each.rows for each in batch), seconds)
        for each, outcome in zip(batch, outcomes, strict=True):
            if each.answer.done():
                continue
            if isinstance(outcome, BaseException):
                each.answer.set_exception(outcome)
            else:
                each.answer.set_result(outcome)


Outcome = list[Array] | BaseException


def is_quick(model: Model, rows: int) -> bool:
    """Whether so many rows take less than handing them to a thread."""
    return rows * model.row_seconds <= QUICK_SECONDS


def compute(batch: Sequence[Waiting], clock: Callable[[], float]) -> tuple[list[Outcome], float]:
    """The answer, or the error, of each request of a batch, and the seconds it took.

    Where the batch fails each request is computed alone: one that a graph cannot take fails no other.
    """
    started = clock()
    if len(batch) > 1:
        try:
            return _together(batch), clock() - started
        except Exception:  # told below, to the request that causes it
            pass
    return [_alone(each) for each in batch], clock() - started


def _together(batch: Sequence[Waiting]) -> list[Outcome]:
    names = batch[0].inputs
    joined = {name: np.concatenate([each.inputs[name] for each in batch]) for name in names}
    outputs = batch[0].model.run(joined)
    ends = np.cumsum([each.rows for each in batch])
    if any(output.shape[:1] != (ends[-1],) for output in outputs):
        raise ValueError("the outputs have another number of rows than the inputs")
    return [
        [output[end - each.rows : end] for output in outputs] for each, end in zip(batch, ends, strict=True)
    ]


def _alone(request: Waiting) -> Outcome:
    try:
        return request.model.run(request.inputs)
    except Exception as error:
        return error
