"""Starts again what ends by itself, for as long as a command needs the platform."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from mlinfra.errors import MlinfraError

LOOK_SECONDS = 0.2
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 30.0
FORGIVEN_SECONDS = 60.0
"""After so long without an end, the next one is as the first."""
MOST_IN_A_ROW = 10


class Supervised(Protocol):
    """What is kept running."""

    def ended(self) -> list[str]:
        """Names of the components that ended by themselves."""

    async def start_again(self) -> list[str]:
        """Have all components run; those that do are kept. Names of those that were started."""


class SupervisionError(MlinfraError):
    """A component ends again and again."""


@dataclass(slots=True)
class Ends:
    """The ends of one component that follow one another.

    Attributes:
        in_a_row: how many.
        last: when the newest was, in seconds; None where there was none.
    """

    in_a_row: int = 0
    last: float | None = None

    def delay(self, now: float) -> float:
        """Count an end, and tell how many seconds to wait after it: none at first, then ever longer."""
        if self.last is not None and now - self.last > FORGIVEN_SECONDS:
            self.in_a_row = 0
        self.in_a_row += 1
        self.last = now
        if self.in_a_row == 1:
            return 0.0
        return float(min(FIRST_DELAY_SECONDS * 2 ** (self.in_a_row - 2), LONGEST_DELAY_SECONDS))


@asynccontextmanager
async def kept_running(supervised: Supervised, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Start again what ends by itself while the block runs; whoever calls holds the cluster.

    Args:
        supervised: runs.
        say: told of each end, and of what cannot be started.

    Raises:
        SupervisionError: a component ended more than `MOST_IN_A_ROW` times in a row; the block is cancelled.
    """
    failure: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_keep_running(supervised, say))
            try:
                yield
            except Exception as error:
                # The block's own: the task group would wrap it.
                failure = error
            finally:
                watch.cancel()
    except* SupervisionError as errors:
        failure = errors.exceptions[0]
    if failure is not None:
        raise failure


async def _keep_running(supervised: Supervised, say: Callable[[str], None]) -> None:
    ends: dict[str, Ends] = {}
    while True:
        ended = supervised.ended()
        if ended:
            wait = _wait_after(ended, ends)
            when = f" in {wait:.0f} s" if wait else ""
            for name in ended:
                say(f"{name} ended by itself and is started again{when}")
            await asyncio.sleep(wait)
            try:
                started = await supervised.start_again()
            except MlinfraError as error:
                say(str(error))
            else:
                for name in sorted(set(started) - set(ended)):
                    say(f"{name} ended by itself meanwhile and was started again")
        await asyncio.sleep(LOOK_SECONDS)


def _wait_after(ended: Iterable[str], ends: dict[str, Ends]) -> float:
    longest = 0.0
    for name in ended:
        own = ends.setdefault(name, Ends())
        longest = max(longest, own.delay(time.monotonic()))
        if own.in_a_row > MOST_IN_A_ROW:
            raise SupervisionError(f"{name} ended {own.in_a_row} times in a row; see its log: mlinfra status")
    return longest
