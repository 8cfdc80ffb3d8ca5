"""Replays rows as live traffic: asks, tells labels when they are known, and waits while a training goes on.

The replay's clock is event time. It stands still from the moment at which the policy asks for a training
until the new version answers, or is refused: meanwhile the newest row is asked about again and again, so that
a request that fails while the Service turns is noticed. What the server is told, and in which order, does not
depend on how fast anything is.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mlinfra.retraining.live.known_rows import KnownRows
from mlinfra.retraining.live.manifests import LiveSettings
from mlinfra.retraining.live.plan import Stretch, stretches
from mlinfra.retraining.live.story import Retraining
from mlinfra.retraining.live.traffic import LiveTraffic, ReplayError

PROBE_SECONDS = 0.1
MOST_CHECKS = 50
"""Of one moment: a server that is away for longer ends the replay."""
CHECK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check came to.

    Attributes:
        failed: why a monitor could not be asked; None where all were.
        job: name of the TrainingJob that it started; None where it started none.
        rolled_back: why a version was taken back; None where none was.
        taken_back: its number.
    """

    failed: str | None = None
    job: str | None = None
    rolled_back: str | None = None
    taken_back: str | None = None


class Loop(Protocol):
    """The policy that is followed."""

    async def check(self, value: str) -> Checked:
        """Have the monitors asked, and wait until what they said is decided on."""

    async def settled(self, job: str, time: datetime) -> Retraining:
        """Wait until a training has come to its end: its version is served, or refused."""

    async def production(self, *, other_than: str | None) -> str:
        """Wait until another version in Production is served; its number."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A version that the policy took back."""

    time: datetime
    message: str
    version: str


@dataclass(slots=True)
class Progress:
    """How far a replay is.

    Attributes:
        now: its clock.
        rows: how many were asked about.
        held: seconds that the clock stood still.
    """

    now: datetime
    rows: int = 0
    held: float = 0.0


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay came to; the traffic has the answers.

    Attributes:
        retrainings: the trainings that the policy asked for, in order.
        rollbacks: the versions it took back.
        seconds: how long the replay took.
        held: for how many of them its clock stood still.
    """

    retrainings: tuple[Retraining, ...]
    rollbacks: tuple[RolledBack, ...]
    seconds: float
    held: float


class LiveReplay:
    """One replay.

    Args:
        settings: what is replayed.
        times: event time of each row that is asked about, in order.
        traffic: the model's server.
        known: the feature group that trainings read.
        loop: the policy.
        on_retraining, on_rollback, on_progress: told as it goes.
    """

    def __init__(
        self,
        settings: LiveSettings,
        times: Sequence[datetime],
        traffic: LiveTraffic,
        known: KnownRows,
        loop: Loop,
        *,
        on_retraining: Callable[[Retraining], None] = lambda _: None,
        on_rollback: Callable[[RolledBack], None] = lambda _: None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._settings, self._times = settings, times
        self._traffic, self._known, self._loop = traffic, known, loop
        self._on_retraining, self._on_rollback, self._on_progress = on_retraining, on_rollback, on_progress
        self._retrainings: list[Retraining] = []
        self._rollbacks: list[RolledBack] = []
        self._progress = Progress(settings.start)

    async def run(self) -> Replayed:
        """From the first row to the last label.

        Raises:
            ReplayError: the server is away for too long, or a training does not come to its end in time.
        """
        began = time.monotonic()
        settings = self._settings
        for stretch in stretches(self._times, delay=settings.label_delay, rows=settings.check_rows):
            await self._send(stretch)
            await asyncio.to_thread(self._known.reach, stretch.now)
            self._progress.now = stretch.now
            checked = await self._checked(stretch)
            await self._follow(checked, stretch)
            self._on_progress(self._progress)
        return Replayed(
            tuple(self._retrainings),
            tuple(self._rollbacks),
            seconds=time.monotonic() - began,
            held=self._progress.held,
        )

    async def _send(self, stretch: Stretch) -> None:
        for row in stretch.asked:
            await self._traffic.ask(row)
        self._progress.rows += len(stretch.asked)
        await self._resume(stretch)
        await self._traffic.tell(stretch.told)

    async def _checked(self, stretch: Stretch) -> Checked:
        """What the monitors say of all that was sent."""
        for attempt in range(MOST_CHECKS):
            await self._resume(stretch)
            checked = await self._loop.check(f"{stretch.now:%Y-%m-%d}.{attempt}")
            if checked.failed is None:
                return checked
            self._traffic.interrupted = True
            await asyncio.sleep(CHECK_AGAIN_SECONDS)
        raise ReplayError(f"the monitors cannot be asked at {stretch.now:%Y-%m-%d}: {checked.failed}")

    async def _resume(self, stretch: Stretch) -> None:
        """Send again what a server that was killed may have lost: it logs all that a check has counted.

        Where nothing is asked any more, the newest row again: until it is answered, no check can be.
        """
        while self._traffic.interrupted:
            self._traffic.resumed()
            for row in stretch.asked or [self._row_again]:
                await self._traffic.ask(row)

    async def _follow(self, checked: Checked, stretch: Stretch) -> None:
        if checked.job is None and checked.rolled_back is None:
            return
        began = time.monotonic()
        asking = asyncio.create_task(self._keep_asking())
        try:
            if checked.job is not None:
                retraining = await self._loop.settled(checked.job, stretch.now)
                if retraining.promoted and retraining.version is not None:
                    await self._answered_by(retraining.version)
                self._retrainings.append(retraining)
                self._on_retraining(retraining)
            if checked.rolled_back is not None:
                version = await self._loop.production(other_than=checked.taken_back)
                await self._answered_by(version)
                rollback = RolledBack(stretch.now, checked.rolled_back, version)
                self._rollbacks.append(rollback)
                self._on_rollback(rollback)
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            self._progress.held += time.monotonic() - began

    async def _keep_asking(self) -> None:
        """Ask about a row that the prediction log has: it counts once, whichever version is asked again."""
        while True:
            await self._traffic.ask(self._row_again)
            await asyncio.sleep(PROBE_SECONDS)

    async def _answered_by(self, version: str) -> None:
        """Until the Service leads to a version."""
        deadline = time.monotonic() + self._settings.patience
        while (await self._traffic.ask(self._row_again)).version != version:
            if time.monotonic() > deadline:
                raise ReplayError(f"version {version} is served, and does not answer")
            await asyncio.sleep(PROBE_SECONDS)

    @property
    def _row_again(self) -> int:
        return max(0, self._progress.rows - 1)
