"""Keeps the log of predictions and labels in order: few files, and none of long ago where they shall go."""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from mlinfra.errors import MlinfraError
from mlinfra.features import FeatureStore, UnknownFeatureGroup
from mlinfra.serving.observations import Observed

logger = logging.getLogger(__name__)

EVERY_SECONDS = 3600.0
FIRST_SECONDS = 600.0
"""At the earliest, after a start: not while the first requests come."""
MERGE_AFTER = timedelta(minutes=45)
"""Younger files stay as they were written. Less than between two runs: the next adds to what one merged."""
GRACE = timedelta(days=1)
"""For readers: how long files stay that no longer count."""
FEW_FILES = 8
MAX_ROWS = 200_000
MIN_ROWS = 1000
MAX_VALUES = 10_000_000
"""Of a merged file: so many are in memory at a time, and again while they are sorted."""


class LogUpkeep:
    """A sink that keeps groups in bounds, in a thread of its own: neither requests nor labels wait for it.

    A server writes a file every few seconds, and each checkpoint of the group lists them all; those of a
    while ago are merged. Replicas do the same, and what one has done the next one does not find.

    Args:
        store: where the groups are.
        groups: their names.
        days: rows whose event time is so long ago go, once they also were written so long ago; none where
            absent.
        clock: seconds.
        now: the time in UTC.
        first: picks the seconds until it begins, of those from one number to another: the replicas of a
            rollout start together, and must not all merge the same files.
    """

    def __init__(
        self,
        store: FeatureStore,
        groups: Sequence[str],
        *,
        days: float | None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        first: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._store = store
        self._groups = groups
        self._age = timedelta(days=days) if days is not None else None
        self._clock = clock
        self._now = now
        self._due = clock() + first(FIRST_SECONDS, EVERY_SECONDS)
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
            # The vacuum comes first: it frees the room that a merge needs.
            self._step(group, "deleted", self._vacuum)
            if self._age is not None:
                self._step(group, "dropped", self._drop, now - self._age)
            self._step(group, "merged", self._merge, now - MERGE_AFTER)

    def _step(self, group: str, what: str, step: Callable[..., None], *args: datetime) -> None:
        """One step, whose failure keeps none of the others from being made."""
        try:
            step(group, *args)
        except UnknownFeatureGroup:
            return
        except MlinfraError as error:
            logger.warning("old files of %s are not %s: %s", group, what, error)
        except Exception:
            # A thread of its own: nobody else would tell.
            logger.exception("old files of %s are not %s", group, what)

    def _vacuum(self, group: str) -> None:
        self._store.vacuum_offline_features(group, older_than=GRACE)

    def _drop(self, group: str, before: datetime) -> None:
        report = self._store.drop_offline_features(group, before=before, written_before=before)
        if report.files:
            logger.info("%s: %d rows of before %s dropped", group, report.rows, f"{before:%Y-%m-%d}")

    def _merge(self, group: str, before: datetime) -> None:
        columns = len(self._store.get_feature_group(group).columns)
        self._store.compact_offline_features(
            group, min_files=FEW_FILES, written_before=before, max_rows=most_rows(columns)
        )


def most_rows(columns: int) -> int:
    """How many rows a merged file of so many columns has at most."""
    return max(MIN_ROWS, min(MAX_ROWS, MAX_VALUES // columns))
