"""New TrainingJobs whose Job is there and whose status tells nothing yet.

Others wait for their Job or their pod, and often there is more to tell a moment later. What is to be told is
kept here; an operator that ends before it told finds it again by the Job.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mlinfra_operator.tracking import Run
from mlinfra_operator.trainingjob.observed import ChildJob

UNTOLD_SECONDS, LONGEST_UNTOLD_SECONDS = 1.0, 30.0
"""So long the first status of a TrainingJob waits: by itself, and while many wait for their pods."""
FEW = 16
"""So many that wait for their pods keep nothing back."""
LOOKS_A_SECOND = 200


@dataclass(slots=True)
class Untold:
    """What the first status of a TrainingJob will tell.

    Attributes:
        generation: of the TrainingJob that its Job was made of.
        since: when its Job was made.
        started: when a pod was first seen to have started.
    """

    generation: int
    since: datetime
    run: Run | None
    started: datetime | None = None
    awaits_pod: bool = True


class FirstStatuses:
    """By UID of the TrainingJob."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._untold: dict[str, Untold] = {}
        self._awaiting = 0

    @property
    def many_await_pods(self) -> bool:
        """Whether the cluster is at work on the pods of many."""
        return self._awaiting > FEW

    def get(self, uid: str) -> Untold | None:
        return self._untold.get(uid)

    def put_off(self, uid: str, generation: int, run: Run | None) -> float:
        """The Job is there; seconds until its status may be due."""
        self.pop(uid)
        self._untold[uid] = Untold(generation, self._clock(), run)
        self._awaiting += 1
        return UNTOLD_SECONDS

    def wait(self, uid: str, generation: int, child: ChildJob | None) -> float:
        """Seconds until the first status may be due, 0 where it is, as it is once the spec changed."""
        untold, now = self._untold.get(uid), self._clock()
        if untold is None:
            return 0.0
        self._awaits(untold, child is not None and awaits_pod(child))
        if child is None or child.deleting or child.failure is not None:
            return 0.0
        if untold.started is None and child.started > 0:
            untold.started = now
        waited = (now - untold.since).total_seconds()
        # A clock that was set back must not put it off for longer.
        if generation != untold.generation or not 0 <= waited < LONGEST_UNTOLD_SECONDS:
            return 0.0
        if waited >= UNTOLD_SECONDS and self.many_await_pods:
            look_again = max(UNTOLD_SECONDS, len(self._untold) / LOOKS_A_SECOND)
            return min(LONGEST_UNTOLD_SECONDS - waited, look_again)
        return max(0.0, UNTOLD_SECONDS - waited)

    def leave_out(self, uid: str) -> None:
        """Nothing waits for its pod any more; what is to be told of it stays."""
        if (untold := self._untold.get(uid)) is not None:
            self._awaits(untold, False)

    def pop(self, uid: str) -> Untold | None:
        """It is told, or the TrainingJob is gone."""
        self.leave_out(uid)
        return self._untold.pop(uid, None)

    def _awaits(self, untold: Untold, awaits: bool) -> None:
        self._awaiting += awaits - untold.awaits_pod
        untold.awaits_pod = awaits


def awaits_pod(child: ChildJob) -> bool:
    """Whether a Job that may have pods has none yet."""
    ended = child.complete or child.failure is not None
    return not (ended or child.held or child.deleting or child.active or child.started)
