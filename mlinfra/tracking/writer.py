"""Writes metrics and tags to a run in the background, in batches, so that training never waits for MLflow.

Everything handed over before `flush` returns is written. While the server is away the same batch is
tried again, ever more slowly; what arrives meanwhile waits in memory.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mlinfra.tracking.errors import TrackingUnavailableError

MAX_METRICS_IN_BATCH = 800
MAX_TAGS_IN_BATCH = 100


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One value of one metric; ``timestamp`` in milliseconds since 1970."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request writes; of a tag that was set several times only the newest value."""

    metrics: tuple[MetricPoint, ...]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between requests, and between attempts while the server is away."""

    interval: float = 0.5
    first_delay: float = 0.5
    max_delay: float = 5.0


Send = Callable[[Batch], None]
"""Writes a batch; raises TrackingUnavailableError where another attempt may succeed."""


class BackgroundWriter:
    """One thread that sends what it is handed, oldest first.

    Args:
        send: writes one batch; called from the thread only. Any error but TrackingUnavailableError
            stops the writer and is raised by the next call.
        pace: how often it sends.
    """

    def __init__(self, send: Send, *, pace: Pace | None = None) -> None:
        self._send = send
        self._pace = pace or Pace()
        self._changed = threading.Condition()
        self._metrics: deque[MetricPoint] = deque()
        self._tags: dict[str, str] = {}
        self._sending = False
        self._urgent = False
        self._closed = False
        self._failure: Exception | None = None
        self._unavailable: TrackingUnavailableError | None = None
        self._thread = threading.Thread(target=self._run, name="mlinfra-tracking", daemon=True)
        self._thread.start()

    def put(self, metrics: Iterable[MetricPoint] = (), tags: Mapping[str, str] | None = None) -> None:
        """Hand over metrics and tags; returns at once.

        Raises:
            Exception: the server refused an earlier batch.
        """
        with self._changed:
            self._raise_failure()
            if self._closed:
                raise RuntimeError("the writer is closed")
            self._metrics.extend(metrics)
            self._tags.update(tags or {})
            self._changed.notify_all()

    def flush(self, timeout: float) -> None:
        """Wait until everything handed over so far is written.

        Raises:
            TrackingUnavailableError: the server was away for all of ``timeout`` seconds.
            Exception: the server refused a batch.
        """
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._failure or not self._pending(), timeout)
            self._raise_failure()
            if self._pending():
                raise TrackingUnavailableError(
                    f"{len(self._metrics)} metrics could not be written within {timeout:g} s: "
                    f"{self._unavailable or 'the server is slow'}"
                )
            self._urgent = False

    def close(self, timeout: float) -> None:
        """Flush, then end the thread. A second call does nothing.

        Raises:
            TrackingUnavailableError: the server was away for all of ``timeout`` seconds.
            Exception: the server refused a batch.
        """
        if self._closed:
            return
        try:
            self.flush(timeout)
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()

    def _pending(self) -> bool:
        return bool(self._metrics or self._tags or self._sending)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                self._send_until_done(batch)
            except Exception as error:  # handed to the thread that trains, by the next call
                with self._changed:
                    self._failure = error
                    self._sending = False
                    self._changed.notify_all()
                return
            with self._changed:
                self._sending = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._urgent or self._closed, self._pace.interval)

    def _next_batch(self) -> Batch | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._metrics or self._tags)
            if self._closed:
                return None
            self._sending = True
            count = min(len(self._metrics), MAX_METRICS_IN_BATCH)
            metrics = tuple(self._metrics.popleft() for _ in range(count))
            # Tags tell of the newest metrics: they go with the last of them.
            tags = {} if self._metrics else dict(list(self._tags.items())[:MAX_TAGS_IN_BATCH])
            for key in tags:
                del self._tags[key]
            return Batch(metrics, tags)

    def _send_until_done(self, batch: Batch) -> None:
        delay = self._pace.first_delay
        while not self._closed:
            try:
                self._send(batch)
                return
            except TrackingUnavailableError as error:
                with self._changed:
                    self._unavailable = error
                    self._changed.wait_for(lambda: self._closed, delay)
                delay = min(2 * delay, self._pace.max_delay)
