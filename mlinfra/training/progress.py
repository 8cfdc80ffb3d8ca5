"""How far a training is: percent, time left, and the tag by which its run tells the operator. Pure."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

RECENT_EPOCHS = 5


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is.

    Attributes:
        epoch: epochs done.
        epochs: the most epochs to train.
        remaining_seconds: time left if every epoch takes as long as the recent ones.
        metrics: latest values.
        finished: whether all is done, early or not.
        best: best value so far of the validation measure that the model is judged by.
        samples_per_second: training samples over the wall time of the newest epoch, its validation included.
    """

    epoch: int
    epochs: int
    remaining_seconds: float
    metrics: Mapping[str, float]
    finished: bool = False
    best: float | None = None
    samples_per_second: float | None = None

    @property
    def percent(self) -> int:
        """Share of the epochs done, 100 once all is done."""
        return 100 if self.finished else 100 * self.epoch // self.epochs


def remaining_seconds(seconds: Sequence[float], *, epochs: int) -> float:
    """Time left for ``epochs`` in all, when the epochs so far took ``seconds`` each.

    The median of the recent ones: one slow epoch, such as the first, does not shift it.
    """
    if not seconds:
        return 0.0
    return statistics.median(seconds[-RECENT_EPOCHS:]) * (epochs - len(seconds))


def progress_tag(progress: Progress, *, attempt: int, now: datetime) -> str:
    """The value of the progress tag, as mlinfra.tracking.contract describes it."""
    return json.dumps(
        {
            "attempt": attempt,
            "currentEpoch": progress.epoch,
            "totalEpochs": progress.epochs,
            "progressPercentage": progress.percent,
            "estimatedRemainingSeconds": round(progress.remaining_seconds),
            "metrics": dict(progress.metrics),
            "lastUpdatedTime": f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        },
        allow_nan=False,
    )
