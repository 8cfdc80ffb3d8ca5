"""What a score reaches by the rows of one cell alone, whose law is known, as far as rows are independent."""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.references import Reference
from mlinfra.monitoring.scores import drift_score
from mlinfra.resources.monitoring import DriftMethod

LEVELS = np.logspace(0, -6, 64)
"""Probabilities, of whose numbers of rows in a cell the scores are looked at."""
DEVIATIONS, ROWS_BEYOND = 12, 64
"""How far from the expected number of rows others are looked at."""
LEAST_ROWS_OF_A_SIZE = 2 ** (-1 / 6)
"""Part of ``rows`` that the smallest window has which shares their usual scores."""


@dataclass(frozen=True, slots=True)
class RowsOfOneCell:
    """Scores that windows reach by the rows of one cell, and how probable that is.

    Attributes:
        scores: from the lowest.
        chances: of the rows that reach a score at least as high.
    """

    scores: tuple[float, ...]
    chances: tuple[float, ...]

    def probability(self, score: float) -> float:
        """How probable the rows are that reach a score at least as high."""
        place = bisect_left(self.scores, score)
        return self.chances[place] if place < len(self.scores) else 0.0

    def score_at(self, probability: float) -> float:
        """The highest score whose rows are as probable."""
        place = bisect_right(self.chances, -probability, key=lambda chance: -chance)
        return self.scores[place - 1] if place else 0.0


NOTHING_REACHED = RowsOfOneCell((), ())


def rows_of_one_cell(reference: Reference, rows: int, method: DriftMethod) -> RowsOfOneCell:
    """What windows score that have more or fewer rows of one cell; others share the rest as in training.

    Args:
        reference: the training rows of a column.
        rows: in a window.
        method: how distributions are compared.
    """
    known = reference.distribution(reference.counts).astype(np.float64)
    total, size = known.sum(), max(1, math.floor(rows * LEAST_ROWS_OF_A_SIZE))
    reached, chances = [], []
    for cell, there in enumerate(known.tolist()):
        more, chance = _later_rows(there, total, size)
        others = np.where(np.arange(len(known)) == cell, 0.0, known)
        windows = np.outer(size - more, others / max(others.sum(), 1))
        windows[:, cell] = more
        reached.append(drift_score(reference, windows, method))
        chances.append(chance)
    scores, chance = np.concatenate(reached), np.concatenate(chances)
    order = np.argsort(scores, kind="stable")
    at_least = np.maximum.accumulate(chance[order][::-1])[::-1]
    return RowsOfOneCell(tuple(scores[order].tolist()), tuple(at_least.tolist()))


def _later_rows(there: float, total: float, size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Numbers of rows in a cell, (levels,) at most, and how probable it is that there are as many, or as few.

    With c of N training rows in a cell, those of n later ones follow the beta-binomial law of c + 1/2 and
    N - c + 1/2: the predictive law under Jeffreys' prior (Brown, Cai and DasGupta, Statistical Science 16
    (2001), on why that prior serves rare events).
    """
    from scipy.special import betaln, gammaln

    a, b = there + 0.5, total - there + 0.5
    expected = size * a / (a + b)
    deviation = math.sqrt(expected * b / (a + b) * (1 + size / (a + b)))
    low = max(0, math.floor(expected - DEVIATIONS * deviation) - ROWS_BEYOND)
    high = min(size, math.ceil(expected + DEVIATIONS * deviation) + ROWS_BEYOND)
    rows = np.arange(low, high + 1)
    ways = gammaln(size + 1) - gammaln(rows + 1) - gammaln(size - rows + 1)
    chances = np.exp(ways + betaln(rows + a, size - rows + b) - betaln(a, b))
    more, fewer = np.cumsum(chances[::-1])[::-1], np.cumsum(chances)
    beyond = np.where(rows >= expected - 1e-9, more, fewer)
    order = np.argsort(-beyond, kind="stable")
    places = order[np.unique(np.minimum(np.searchsorted(-beyond[order], -LEVELS), len(rows) - 1))]
    return rows[places], beyond[places]
