"""What an epoch came to, which of them is the best, and when to stop. Pure."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from mlinfra.errors import suggestion
from mlinfra.resources.built_in_training import EarlyStopping
from mlinfra.training.errors import UnknownMetricError

VALIDATION_LOSS = "val_loss"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: from 1.
        train_loss: the objective's mean loss over the training samples, dropout included.
        val_loss: its mean loss over the validation samples.
        val_metrics: the objective's measures on the validation samples, by metric key.
        seconds: wall time of the epoch.
    """

    number: int
    train_loss: float
    val_loss: float
    val_metrics: Mapping[str, float]
    seconds: float

    def metrics(self) -> dict[str, float]:
        """The losses and measures by metric key."""
        return {"train_loss": self.train_loss, VALIDATION_LOSS: self.val_loss, **self.val_metrics}

    def state(self) -> dict[str, Any]:
        """The epoch as plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Self:
        """The epoch that `state` told of."""
        return cls(**state)


@dataclass(frozen=True, slots=True)
class Fit:
    """All epochs, and the one whose weights the network now has."""

    epochs: tuple[Epoch, ...]
    best: Epoch
    stopped_early: bool


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The validation metric that tells which of two epochs is better.

    Attributes:
        metric: ``val_loss``, or one of the objective's measures.
        higher_is_better: its direction.
    """

    metric: str = VALIDATION_LOSS
    higher_is_better: bool = False

    def of(self, epoch: Epoch) -> float:
        """The epoch's value, turned so that less is better."""
        value = epoch.metrics()[self.metric]
        return -value if self.higher_is_better else value


def yardstick(
    early_stopping: EarlyStopping | None, measures: Mapping[str, float], *, higher_is_better: bool
) -> Yardstick:
    """The metric by which epochs are judged: early stopping's, else the validation loss.

    Args:
        early_stopping: may name a metric.
        measures: what the objective measures on the validation part, by metric key.
        higher_is_better: the direction of these measures.

    Raises:
        UnknownMetricError: the objective does not measure that.
    """
    if early_stopping is None or early_stopping.metric == VALIDATION_LOSS:
        return Yardstick()
    if early_stopping.metric not in measures:
        known = [VALIDATION_LOSS, *measures]
        raise UnknownMetricError(
            f'earlyStopping.metric: this training has no "{early_stopping.metric}": '
            f"{suggestion(early_stopping.metric, known)}"
        )
    return Yardstick(early_stopping.metric, higher_is_better)


class Patience:
    """Judges after each epoch whether it is the best so far and whether to go on."""

    def __init__(self, early_stopping: EarlyStopping | None, judged_by: Yardstick | None = None) -> None:
        self._early_stopping = early_stopping
        self._judged_by = judged_by or Yardstick()
        self._reference = math.inf
        self._stale = 0
        self.best: Epoch | None = None

    def is_best(self, epoch: Epoch) -> bool:
        """Take note of an epoch; True where it is the best so far, the earliest where several are."""
        min_delta = self._early_stopping.min_delta if self._early_stopping else 0.0
        value = self._judged_by.of(epoch)
        if value < self._reference - min_delta:
            self._reference = value
            self._stale = 0
        else:
            self._stale += 1
        if self.best is None or value < self._judged_by.of(self.best):
            self.best = epoch
            return True
        return False

    @property
    def exhausted(self) -> bool:
        """Whether enough epochs passed without an improvement that counts."""
        return self._early_stopping is not None and self._stale >= self._early_stopping.patience

    def state(self) -> dict[str, Any]:
        """What was noted so far as plain values, for a checkpoint."""
        best = self.best.state() if self.best is not None else None
        return {"reference": self._reference, "stale": self._stale, "best": best}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._reference = state["reference"]
        self._stale = state["stale"]
        self.best = Epoch.of_state(state["best"]) if state["best"] is not None else None
