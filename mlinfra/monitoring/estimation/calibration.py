"""How often a class is right at each probability that the model gives it: what makes its probabilities usable
to estimate its own performance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.class_performance import class_performance
from mlinfra.monitoring.class_tally import (
    ClassTally,
    exact_probabilities,
    score_bins,
    scored_classes,
    tally_expected,
)
from mlinfra.monitoring.measured import Measured
from mlinfra.monitoring.stretches import Stretches

BINS = 384
"""Bins of the scored classes together, of which each has at least `FEWEST_BINS`."""
FEWEST_BINS = 32
GRID_SHARE = 4
"""One bin in so many is of equal width, for scores that the held-out part does not have."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibrated probabilities by bin, learnt on rows that the model did not learn from.

    Attributes:
        classes: how many classes the model tells apart.
        rows: how many rows it was learnt on.
        edges: inner edges of the bins of each scored class's probability, rising, (scored, bins - 1); equal
            ones bound a bin that stays empty.
        right: how often the class is right in each bin, never falling, (scored, bins).
    """

    classes: int
    rows: int
    edges: NDArray[np.float64]
    right: NDArray[np.float64]

    def calibrated(self, probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """How probable each class is; rows adding up to 1, (rows, classes).

        Args:
            probabilities: finite, as the model gave them, (rows, classes).
        """
        return self._calibrated(exact_probabilities(probabilities))

    def _calibrated(self, exact: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.empty((len(exact), len(self.edges)))
        for place, each in enumerate(scored_classes(self.classes)):
            found[:, place] = self.right[place][score_bins(exact[:, each], self.edges[place])]
        if self.classes == 2:
            return np.concatenate([1.0 - found, found], axis=1)
        total = found.sum(axis=1, keepdims=True)
        # Bins that never held a right answer, of every class: then the model's own word is all there is.
        return np.where(total > 0, found / np.where(total > 0, total, 1.0), exact)

    def tally(self, probabilities: NDArray[np.floating[Any]]) -> ClassTally:
        """Expected counts of answers without labels: finite probabilities, (rows, classes)."""
        return self.tallies(probabilities, Stretches.whole(len(probabilities)))[0]

    def tallies(self, probabilities: NDArray[np.floating[Any]], stretches: Stretches) -> list[ClassTally]:
        """As `tally`, of each part of the rows."""
        exact = exact_probabilities(probabilities)
        return tally_expected(exact, self._calibrated(exact), self.edges, stretches)

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "classes": self.classes,
            "rows": self.rows,
            "edges": self.edges.tolist(),
            "right": self.right.tolist(),
        }

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "Calibration":
        """What `to_wire` gave."""
        return cls(
            classes=int(wire["classes"]),
            rows=int(wire["rows"]),
            edges=np.asarray(wire["edges"], dtype=np.float64),
            right=np.asarray(wire["right"], dtype=np.float64),
        )


def fit_calibration(probabilities: NDArray[np.floating[Any]], label: NDArray[np.int64]) -> Calibration:
    """Learn the calibration on held-out rows.

    Each class against the rest: the share that is right in each bin, made never to fall by isotonic
    regression. Where the model gives no more different probabilities than there are bins, each has a bin of
    its own and the counters lose nothing.

    Args:
        probabilities: finite, of each class, (rows, classes); at least one row.
        label: index of the right class, (rows,).
    """
    exact = exact_probabilities(probabilities)
    classes = exact.shape[1]
    scored = scored_classes(classes)
    bins = max(FEWEST_BINS, BINS // len(scored))
    edges = np.stack([_edges(exact[:, each], bins) for each in scored])
    right = np.stack(
        [_rising_share(exact[:, each], label == each, edges[place]) for place, each in enumerate(scored)]
    )
    return Calibration(classes=classes, rows=len(label), edges=edges, right=right)


def estimated_classes(calibration: Calibration, tally: ClassTally) -> dict[str, Measured]:
    """Confidence-based estimate of the measures of answers without labels, by name.

    It holds while a class is still right as often at each probability as it was on the held-out part: drift
    of the inputs is seen, a change of what the labels mean is not.

    Args:
        calibration: what the answers were counted with.
        tally: their expected counts.
    """
    # The calibration is a sample too: the smaller the held-out part, the less an estimate says.
    inflation = float(np.sqrt(1.0 + tally.rows / calibration.rows))
    return {
        name: Measured(measure.value, measure.error * inflation, measure.resolution)
        for name, measure in class_performance(tally).items()
    }


def _edges(probability: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Inner edges, (bins - 1,): between the values there are, else at quantiles and some of equal width."""
    values = np.unique(probability)
    if len(values) <= bins:
        edges = (values[1:] + values[:-1]) / 2
    else:
        even = bins // GRID_SHARE
        quantiles = np.quantile(probability, np.linspace(0, 1, bins - even + 1)[1:-1])
        edges = np.unique(np.concatenate([quantiles, np.linspace(0, 1, even + 1)[1:-1]]))
    return np.concatenate([edges, np.full(bins - 1 - len(edges), 1.0)])


def _rising_share(
    probability: NDArray[np.float64], right: NDArray[np.bool_], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    from scipy.optimize import isotonic_regression

    bins = score_bins(probability, edges)
    size = len(edges) + 1
    counts = np.bincount(bins, minlength=size)
    filled = np.flatnonzero(counts)
    share = np.bincount(bins, weights=right, minlength=size)[filled] / counts[filled]
    rising = isotonic_regression(share, weights=counts[filled]).x
    middle = np.bincount(bins, weights=probability, minlength=size)[filled] / counts[filled]
    bounds = np.concatenate([[0.0], edges, [1.0]])
    centres = (bounds[1:] + bounds[:-1]) / 2
    centres[filled] = middle
    result: NDArray[np.float64] = np.interp(centres, middle, rising)
    return result
