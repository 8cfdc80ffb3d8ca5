"""Keys to reconcile: each once, after a delay where asked, and never by two workers at a time."""

import asyncio
import heapq
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")

PATIENCE_SECONDS = 5.0
"""So long a key waits for all those that come first."""
TURNS = 4
"""Of so many keys that are taken, one is a key that has waited for longer, if there is one."""

logger = logging.getLogger(__name__)


class Retry(Exception):
    """The key has to be tried again with a growing delay; what keeps it back is told already."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between attempts at one key: doubled each time, and shortened by up to a quarter at random."""

    first: float = 0.5
    longest: float = 30.0
    jitter: Callable[[], float] = random.random

    def delay(self, failures: int) -> float:
        """The delay after so many failures in a row."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 30)) * (1 - 0.25 * self.jitter())


Reconcile = Callable[[Key], Awaitable[float | None]]
"""Brings what the key names to its desired state; returns after how many seconds to look again."""


class WorkQueue(Generic[Key]):
    """De-duplicates keys and hands them to workers.

    A key added while it is worked on is worked on once more afterwards. A failing key does not hold up
    others; it is tried again after a growing delay, and at once when it is added anew.

    Args:
        reconcile: called with one key at a time for each worker; any error but cancellation is retried.
        backoff: delays between attempts.
        comes_first: whether a key is worked on before those that wait already; of those that came earlier
            and have waited for `PATIENCE_SECONDS`, every fourth turn takes one all the same.
    """

    def __init__(
        self,
        reconcile: Reconcile[Key],
        *,
        backoff: Backoff | None = None,
        comes_first: Callable[[Key], bool] = lambda _: False,
    ) -> None:
        self._reconcile = reconcile
        self._backoff = backoff or Backoff()
        self._comes_first = comes_first
        self._first: deque[tuple[float, Key]] = deque()
        self._ready: deque[tuple[float, Key]] = deque()
        self._waiting: set[Key] = set()
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._sequence = 0
        self._turn = 0
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """Keys that wait for a worker or have one."""
        return len(self._waiting) + len(self._active)

    @property
    def first_wait(self) -> bool:
        """Whether keys wait that come first."""
        return bool(self._first)

    def add(self, key: Key) -> None:
        """Work on the key as soon as a worker is free."""
        self._due.pop(key, None)
        if key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            lane = self._first if self._comes_first(key) else self._ready
            lane.append((_now(), key))
            self._wake.set()

    def add_after(self, key: Key, delay: float) -> None:
        """Work on the key after so many seconds; an earlier time that is set already stays."""
        due = _now() + delay
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, key))
        self._wake.set()

    async def run(self, workers: int) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            slots = asyncio.Semaphore(workers)
            while True:
                await slots.acquire()
                key = await self._next()
                self._waiting.discard(key)
                self._active.add(key)
                group.create_task(self._work(key, slots))

    async def _next(self) -> Key:
        while True:
            self._wake.clear()
            timeout = self._promote_due()
            if (lane := self._lane()) is not None:
                return lane.popleft()[1]
            try:
                await asyncio.wait_for(self._wake.wait(), timeout)
            except TimeoutError:
                continue

    def _lane(self) -> deque[tuple[float, Key]] | None:
        """Whose first key is next; None where none waits."""
        if not self._first or not self._ready:
            return self._first or self._ready or None
        since = self._ready[0][0]
        overdue = since < self._first[0][0] and _now() - since > PATIENCE_SECONDS
        self._turn = (self._turn + 1) % TURNS if overdue else 0
        return self._ready if overdue and self._turn == 0 else self._first

    def _promote_due(self) -> float | None:
        """Move what is due to the ready keys; seconds until the next is due, None where there is none."""
        now = _now()
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)
            elif due <= now:
                heapq.heappop(self._heap)
                self.add(key)
            else:
                return due - now
        return None

    async def _work(self, key: Key, slots: asyncio.Semaphore) -> None:
        try:
            later = await self._reconcile(key)
        except Retry:
            self._retry(key)
        except Exception:
            # One key's error, whatever it is, must not end the operator for all others.
            logger.exception("%s: tried again", key)
            self._retry(key)
        else:
            self._failures.pop(key, None)
            if later is not None:
                self.add_after(key, later)
        finally:
            self._active.discard(key)
            slots.release()
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    def _retry(self, key: Key) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self.add_after(key, self._backoff.delay(failures))


def _now() -> float:
    return asyncio.get_running_loop().time()
