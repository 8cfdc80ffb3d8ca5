"""Additive counts of a classifier's answers against what was right, or probably right.

One tally serves both ways to know how good a model is. With labels every answer counts in one cell. Without
them an answer is spread over the classes by their calibrated probabilities: the expected counts, of which the
same measures follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.moments import NOTHING, Moments
from mlinfra.monitoring.stretches import Stretches

CERTAIN = 1
"""What a row counts where its class is known."""
SPREAD = 2**20
"""What a row counts where it is spread over the classes: probabilities are rounded to 1e-6."""
SMALLEST = float(np.finfo(np.float64).eps)
"""A probability below counts as this one in the log loss, as in scikit-learn."""


@dataclass(frozen=True, slots=True)
class ClassTally:
    """Answers of a classifier of K classes.

    Attributes:
        rows: how many answers.
        one: what a row counts in the cells below: CERTAIN or SPREAD.
        confusion: by right class (row) and predicted class (column), int64 (K, K).
        scores: by class that is scored, not right and right, and bin of the class's probability, int64
            (scored, 2, bins). Of two classes the higher one is scored, else each against the rest.
        log_loss: of the negative log-probability of the right class, in nats.
        brier: of the squared error, as `mlinfra.training.measures` counts it.
    """

    rows: int
    one: int
    confusion: NDArray[np.int64]
    scores: NDArray[np.int64]
    log_loss: Moments
    brier: Moments

    @classmethod
    def empty(cls, edges: NDArray[np.float64], *, classes: int, one: int) -> "ClassTally":
        """No answer yet; for score bins with the inner ``edges``, (scored, bins - 1)."""
        scored, inner = edges.shape
        return cls(
            rows=0,
            one=one,
            confusion=np.zeros((classes, classes), dtype=np.int64),
            scores=np.zeros((scored, 2, inner + 1), dtype=np.int64),
            log_loss=NOTHING,
            brier=NOTHING,
        )

    def __add__(self, other: "ClassTally") -> "ClassTally":
        if self.one != other.one:
            raise ValueError("measured and expected counts do not add up")
        return ClassTally(
            rows=self.rows + other.rows,
            one=self.one,
            confusion=self.confusion + other.confusion,
            scores=self.scores + other.scores,
            log_loss=self.log_loss + other.log_loss,
            brier=self.brier + other.brier,
        )

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rows": self.rows,
            "one": self.one,
            "confusion": self.confusion.tolist(),
            "scores": self.scores.tolist(),
            "logLoss": self.log_loss.to_wire(),
            "brier": self.brier.to_wire(),
        }

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "ClassTally":
        """What `to_wire` gave."""
        return cls(
            rows=int(wire["rows"]),
            one=int(wire["one"]),
            confusion=np.asarray(wire["confusion"], dtype=np.int64),
            scores=np.asarray(wire["scores"], dtype=np.int64),
            log_loss=Moments.of_wire(wire["logLoss"]),
            brier=Moments.of_wire(wire["brier"]),
        )


def scored_classes(classes: int) -> range:
    """The classes whose probability is kept in bins: of two the higher one, else all."""
    return range(1, 2) if classes == 2 else range(classes)


def exact_probabilities(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities, (rows, classes), that add up to 1 in 64 bits too."""
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return exact


def score_bins(probability: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Bin of each probability, (rows,): how many of the inner edges, (bins - 1,), it is not below."""
    return np.searchsorted(edges, probability, side="right")


def tally_labels(
    probabilities: NDArray[np.floating[Any]], label: NDArray[np.int64], edges: NDArray[np.float64]
) -> ClassTally:
    """Count answers whose class is known.

    Args:
        probabilities: finite, of each class, (rows, classes).
        label: index of the right class, (rows,).
        edges: inner edges of the score bins, (scored, bins - 1).
    """
    right = np.eye(probabilities.shape[1])[label]
    return _tallies(
        exact_probabilities(probabilities), right, edges, Stretches.whole(len(label)), one=CERTAIN
    )[0]


def tally_expected(
    exact: NDArray[np.float64],
    calibrated: NDArray[np.float64],
    edges: NDArray[np.float64],
    stretches: Stretches,
) -> list[ClassTally]:
    """Count answers whose class is not known, by how probable each class is; those of each part of the rows.

    Args:
        exact: `exact_probabilities` of what the model gave, (rows, classes).
        calibrated: how probable each class is, rows adding up to 1, (rows, classes).
        edges: inner edges of the score bins, (scored, bins - 1).
        stretches: how the rows are cut.
    """
    return _tallies(exact, calibrated, edges, stretches, one=SPREAD)


def _tallies(
    exact: NDArray[np.float64],
    right: NDArray[np.float64],
    edges: NDArray[np.float64],
    stretches: Stretches,
    *,
    one: int,
) -> list[ClassTally]:
    rows, classes = exact.shape
    weight = np.rint(right * one)
    # The largest share takes what rounding left, so that a row counts as one.
    weight[np.arange(rows), right.argmax(axis=1)] += one - weight.sum(axis=1)
    predicted = exact.argmax(axis=1)
    confusion = np.empty((stretches.number, classes, classes))
    for each in range(classes):
        confusion[:, each] = stretches.weighed(predicted, weight[:, each], classes)
    bins = edges.shape[1] + 1
    scores = np.empty((stretches.number, len(edges), 2, bins))
    for place, each in enumerate(scored_classes(classes)):
        found = score_bins(exact[:, each], edges[place])
        scores[:, place, 0] = stretches.weighed(found, one - weight[:, each], bins)
        scores[:, place, 1] = stretches.weighed(found, weight[:, each], bins)
    brier = 1.0 - 2.0 * exact + np.square(exact).sum(axis=1, keepdims=True)
    logarithm = np.log(np.clip(exact, SMALLEST, 1.0 - SMALLEST))
    return [
        ClassTally(rows=each[0], one=one, confusion=each[1], scores=each[2], log_loss=each[3], brier=each[4])
        for each in zip(
            stretches.sizes,
            confusion.astype(np.int64),
            scores.astype(np.int64),
            Moments.expected(-logarithm, right, stretches),
            Moments.expected(brier / 2 if classes == 2 else brier, right, stretches),
            strict=True,
        )
    ]
