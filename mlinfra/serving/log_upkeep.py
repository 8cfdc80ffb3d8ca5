"""Keeps the log of predictions and labels in order: few files, and none of long ago where they shall go."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from mlinfra.errors import MlinfraError
from mlinfra.features import FeatureStore, UnknownFeatureGroup
from mlinfra.serving.observations import Observed

logger = logging.getLogger(__name__)

EVERY_SECONDS = 6 * 3600.0
GRACE = timedelta(days=1)
"""For readers: how long files stay as they were written, and how long those stay that no longer count."""
FEW_FILES = 8
MAX_ROWS = 200_000
"""Of a merged file: so many are in memory at a time."""


class LogUpkeep:
    """A sink that keeps groups in bounds, in a thread of its own: neither requests nor labels wait for it.

    A server writes a file every few seconds; those of a day ago are merged. Replicas do the same, and what
    one has done the next one does not find.

    Args:
        store: where the groups are.
        groups: their names.
        days: rows whose event time is so long ago go, once they also were written so long ago; none where
            absent.
        clock: seconds.
        now: the time in UTC.
    """

    def __init__(
        self,
        store: FeatureStore,
        groups: Sequence[str],
        *,
        days: float | None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._groups = groups
        self._age = timedelta(days=days) if days is not None else None
        self._clock = clock
        self._now = now
        self._due = clock()
        self._thread: threading.Thread | None = None

    def observe(self, batch: Sequence[Observed]) -> None:
        """Predictions are logged by another sink."""

    def tick(self) -> None:
        """Begin, where it is time."""
        if self._clock() < self._due or (self._thread is not None and self._thread.is_alive()):
            return
        self._due = self._clock() + EVERY_SECONDS
        self._thread = threading.Thread(target=self.run, name="log-upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """What is not done yet is done the next time."""

    def join(self) -> None:
        """Wait for what has begun."""
        if self._thread is not None:
            self._thread.join()

    def run(self) -> None:
        """Drop what is too old, merge what is small, and delete what was dropped and merged before."""
        now = self._now()
        for group in self._groups:
            try:
                if self._age is not None:
                    self._drop(group, now - self._age)
                self._store.compact_offline_features(
                    group, min_files=FEW_FILES, written_before=now - GRACE, max_rows=MAX_ROWS
                )
                self._store.vacuum_offline_features(group, older_than=GRACE)
            except UnknownFeatureGroup:
                continue
            except MlinfraError as error:
                logger.warning("old rows of %s are neither dropped nor merged: %s", group, error)

    def _drop(self, group: str, before: datetime) -> None:
        report = self._store.drop_offline_features(group, before=before, written_before=before)
        if report.files:
            logger.info("%s: %d rows of before %s dropped", group, report.rows, f"{before:%Y-%m-%d}")
