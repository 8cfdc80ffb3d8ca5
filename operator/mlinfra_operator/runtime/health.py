"""Whether the operator lives and is ready, judged by the pulses of its watches."""

import asyncio
import time
from collections.abc import Callable

from mlinfra.kube.pulse import Pulse

DEAD_AFTER_SILENCES = 3
"""A watch whose connection went silent is opened anew after one; so many in a row are its end."""


class DeadWatchError(Exception):
    """A watch gives no sign of life, and nobody has restarted the operator."""


class Health:
    """What the probes are told.

    A server that is away or refuses says so: that makes the operator unready, and no restart would help.
    Silence without end makes it dead.

    Args:
        silence: seconds without a word after which a watch opens its connection anew.
        clock: a monotonic clock in seconds.

    Attributes:
        awaits: what has to happen before the operator can work at all; None once it has.
    """

    def __init__(self, silence: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.silence = silence
        self.dead_after = DEAD_AFTER_SILENCES * silence
        self.awaits: str | None = "the API server has not told yet what there is"
        self.pulses: dict[str, Pulse] = {}
        self._clock = clock
        self._optional: set[str] = set()

    def pulse(self, resource: str, *, optional: bool = False) -> Pulse:
        """The pulse of the watch of a resource, which has to give signs of life from now on.

        One that is optional does not keep the operator unready: it may lack the right to it.
        """
        if optional:
            self._optional.add(resource)
        return self.pulses.setdefault(resource, Pulse(self._clock))

    def dead(self) -> list[str]:
        """The watches that gave no sign of life for too long, each with what is known."""
        return self._silent(self.dead_after)

    def unready(self) -> list[str]:
        """What keeps the operator from knowing the cluster as it is now."""
        if self.awaits is not None:
            return [self.awaits]
        now, reasons = self._clock(), []
        for resource, pulse in self.pulses.items():
            if resource in self._optional:
                continue
            if pulse.trouble is not None:
                reasons.append(f"watch of {resource}: {pulse.trouble}")
            elif pulse.heard_at is None:
                reasons.append(f"watch of {resource}: it has not begun")
            elif now - pulse.heard_at > self.dead_after:
                reasons.append(f"watch of {resource}: nothing heard for {now - pulse.heard_at:.0f} s")
        return reasons

    def silences(self) -> dict[str, float]:
        """Seconds since the API server was last heard, by resource, where it ever was."""
        now = self._clock()
        return {
            resource: now - pulse.heard_at
            for resource, pulse in self.pulses.items()
            if pulse.heard_at is not None
        }

    async def watch_over(self) -> None:
        """Wait until the operator has been dead for as long again, unnoticed by any probe.

        Raises:
            DeadWatchError: it has been.
        """
        while not (silent := self._silent(2 * self.dead_after)):
            await asyncio.sleep(self.silence / 3)
        raise DeadWatchError("; ".join(silent))

    def _silent(self, limit: float) -> list[str]:
        if self.awaits is not None:
            return []
        now = self._clock()
        return [
            f"watch of {resource}: no sign of life for {now - pulse.sign_at:.0f} s"
            for resource, pulse in self.pulses.items()
            if now - pulse.sign_at > limit
        ]
