"""New TrainingJobs whose Job is there and whose status tells nothing yet.

Others wait for their Job, and often there is more to tell a moment later. What is to be told is kept here;
an operator that ends before it told finds it again by the Job.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlinfra_operator.tracking import Run
from mlinfra_operator.trainingjob.observed import ChildJob

UNTOLD_SECONDS, LONGEST_UNTOLD_SECONDS = 1.0, 5.0
"""So long the first status of a TrainingJob waits: alone, and among many."""
TOLD_A_SECOND = 60


@dataclass(slots=True)
class Untold:
    """What the first status of a TrainingJob will tell.

    Attributes:
        generation: of the TrainingJob that its Job was made of.
        due: when it is told.
        started: when a pod was first seen to have started.
    """

    generation: int
    due: datetime
    run: Run | None
    started: datetime | None = None


class FirstStatuses:
    """By UID of the TrainingJob."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._untold: dict[str, Untold] = {}

    def get(self, uid: str) -> Untold | None:
        return self._untold.get(uid)

    def put_off(self, uid: str, generation: int, run: Run | None) -> float:
        """The Job is there; seconds until its status is due: the longer, the more TrainingJobs wait."""
        wait = min(LONGEST_UNTOLD_SECONDS, max(UNTOLD_SECONDS, len(self._untold) / TOLD_A_SECOND))
        self._untold[uid] = Untold(generation, self._clock() + timedelta(seconds=wait), run)
        return wait

    def wait(self, uid: str, generation: int, child: ChildJob | None) -> float:
        """Seconds until the first status is due, 0 where it is; a spec that changed is looked at at once."""
        untold, now = self._untold.get(uid), self._clock()
        if untold is None:
            return 0.0
        if untold.started is None and child is not None and child.started > 0:
            untold.started = now
        left = (untold.due - now).total_seconds()
        # A clock that was set back must not put it off for longer.
        return left if generation == untold.generation and 0 < left <= LONGEST_UNTOLD_SECONDS else 0.0

    def pop(self, uid: str) -> Untold | None:
        """It is told, or the TrainingJob is gone."""
        return self._untold.pop(uid, None)
