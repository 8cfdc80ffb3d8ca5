"""What waits to be written to MLflow: in memory up to a limit, and all of it in the spool's files."""

import logging
from collections import deque
from collections.abc import Iterable, Mapping

from mlinfra.tracking.batches import MAX_METRICS_IN_BATCH, MAX_TAGS_IN_BATCH, Batch, MetricPoint
from mlinfra.tracking.spool import Entry, Spool

logger = logging.getLogger(__name__)

MAX_POINTS_IN_MEMORY = 20_000


class Backlog:
    """A queue of points and the newest value of each tag. Not safe for threads by itself.

    Args:
        spool: where everything is kept as well; None keeps it in memory alone, without a limit.
        max_in_memory: points beyond this many are kept in the spool alone.
    """

    def __init__(self, spool: Spool | None = None, *, max_in_memory: int = MAX_POINTS_IN_MEMORY) -> None:
        self._spool = spool
        self._max_in_memory = max_in_memory
        self._memory: deque[MetricPoint] = deque()
        self._spilled = 0
        self._tags: dict[str, str] = {}
        self._taken: Batch | None = None

    def __bool__(self) -> bool:
        return bool(self._memory or self._spilled or self._tags or self._taken)

    @property
    def points(self) -> int:
        """How many points are not written."""
        return len(self._memory) + self._spilled + (len(self._taken.metrics) if self._taken else 0)

    @property
    def is_full_batch(self) -> bool:
        """Whether the next request would be as large as one may be."""
        return len(self._memory) + self._spilled >= MAX_METRICS_IN_BATCH

    def put(self, metrics: Iterable[MetricPoint], tags: Mapping[str, str]) -> None:
        """Add points and tags."""
        points = tuple(metrics)
        overflows = bool(self._spilled) or len(self._memory) + len(points) > self._max_in_memory
        if overflows and not self._spilled and self._spool is not None:
            self._spool.mark()
        if self._append(Entry(points, tags)) and overflows:
            self._spilled += len(points)
        else:
            self._memory.extend(points)
        self._tags.update(tags)

    def take(self) -> Batch | None:
        """The oldest of what waits, for one request; None where nothing waits. `done` or `take` follows."""
        if not self._memory and self._spilled and self._spool is not None:
            self._memory.extend(self._spool.read(MAX_METRICS_IN_BATCH))
            self._spilled -= len(self._memory)
        count = min(len(self._memory), MAX_METRICS_IN_BATCH)
        metrics = tuple(self._memory.popleft() for _ in range(count))
        # Tags tell of the newest metrics: they go with the last of them.
        waits = self._memory or self._spilled
        tags = {} if waits else dict(list(self._tags.items())[:MAX_TAGS_IN_BATCH])
        for key in tags:
            del self._tags[key]
        self._taken = Batch(metrics, tags) if metrics or tags else None
        return self._taken

    def done(self) -> None:
        """What was taken is written."""
        taken, self._taken = self._taken, None
        if self._spool is None or taken is None:
            return
        try:
            if self:
                self._spool.sent(len(taken.metrics))
            else:
                self._spool.clear()
        except OSError as error:
            self._give_up_spool(error)

    def end(self, status: str, at: int) -> bool:
        """Keep the status that the run ends with; whether it is kept."""
        return self._append(Entry(end=(status, at)))

    def _append(self, entry: Entry) -> bool:
        if self._spool is None:
            return False
        try:
            self._spool.append(entry)
        except OSError as error:
            self._give_up_spool(error)
            return False
        return True

    def _give_up_spool(self, error: OSError) -> None:
        """Go on in memory; what the files hold already stays there for a replay."""
        spool, self._spool = self._spool, None
        if spool is None:
            return
        logger.warning("%s: %s. Metrics wait for MLflow in memory from here on.", spool.folder, error)
        while self._spilled and (points := spool.read(self._spilled)):
            self._memory.extend(points)
            self._spilled -= len(points)
        self._spilled = 0
        spool.leave()
