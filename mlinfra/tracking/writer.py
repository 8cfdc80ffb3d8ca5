"""Writes metrics and tags to a run in the background, in batches, so that training never waits for MLflow.

Everything handed over before `flush` returns is written. While the server is away the same batch is
tried again, ever more slowly; what arrives meanwhile waits in the backlog, and in its files.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mlinfra.tracking.backlog import Backlog
from mlinfra.tracking.batches import Batch, MetricPoint
from mlinfra.tracking.errors import TrackingUnavailableError


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
        backlog: where it waits meanwhile.
        pace: how often it sends.
    """

    def __init__(self, send: Send, *, backlog: Backlog | None = None, pace: Pace | None = None) -> None:
        self._send = send
        self._backlog = Backlog() if backlog is None else backlog
        self._pace = pace or Pace()
        self._changed = threading.Condition()
        self._idle = False
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
            self._backlog.put(metrics, tags or {})
            # A thread that sleeps between two requests is not to be woken by each point.
            if self._idle:
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
            self._changed.wait_for(lambda: self._failure or not self._backlog, timeout)
            self._urgent = False
            self._raise_failure()
            if self._backlog:
                raise TrackingUnavailableError(
                    f"{self._backlog.points} metrics could not be written within {timeout:g} s: "
                    f"{self._unavailable or 'the server is slow'}"
                )

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

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                if not self._send_until_done(batch):
                    return
            except Exception as error:  # handed to the thread that trains, by the next call
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._backlog.done()
                self._unavailable = None
                self._changed.notify_all()
                if not self._backlog.is_full_batch:
                    self._changed.wait_for(lambda: self._urgent or self._closed, self._pace.interval)

    def _next_batch(self) -> Batch | None:
        with self._changed:
            self._idle = True
            self._changed.wait_for(lambda: self._closed or self._backlog)
            self._idle = False
            return None if self._closed else self._backlog.take()

    def _send_until_done(self, batch: Batch) -> bool:
        """Whether it was sent before the writer was closed."""
        delay = self._pace.first_delay
        while not self._closed:
            try:
                self._send(batch)
                return True
            except TrackingUnavailableError as error:
                with self._changed:
                    self._unavailable = error
                    self._changed.wait_for(lambda: self._closed, delay)
                delay = min(2 * delay, self._pace.max_delay)
        return False
