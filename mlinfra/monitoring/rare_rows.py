"""What a score reaches by rows in rare cells alone, which training rows do not tell by their stretches."""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from mlinfra.monitoring.references import Reference
from mlinfra.monitoring.scores import drift_score
from mlinfra.resources.monitoring import DriftMethod

FEW_ROWS = 10.0
"""A cell is rare of which a window is expected to have fewer rows."""
MOST_ROWS = 64
"""In a rare cell, whose score is looked at."""
LEAST_ROWS_OF_A_SIZE = 2 ** (-1 / 6)
"""Part of ``rows`` that the smallest window has which shares their usual scores."""


@dataclass(frozen=True, slots=True)
class RareRows:
    """Scores that windows reach by rows in a rare cell, and how probable that is.

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


NO_RARE_ROWS = RareRows((), ())


def rare_rows(reference: Reference, rows: int, method: DriftMethod) -> RareRows:
    """What windows of ``rows`` rows score by rows in rare cells.

    Training rows hold few or none of a rare cell, so that their stretches do not tell how its rows vary. With
    c of N training rows in a cell, those of n later ones follow the beta-binomial law of c + 1/2 and
    N - c + 1/2: the predictive law under Jeffreys' prior (Brown, Cai and DasGupta, Statistical Science 16
    (2001), on why that prior serves rare events).
    """
    from scipy.stats import betabinom

    known = reference.distribution(reference.counts).astype(np.float64)
    total, size = known.sum(), max(1, math.floor(rows * LEAST_ROWS_OF_A_SIZE))
    reached, chances = [], []
    for cell in np.flatnonzero((known + 0.5) * size < FEW_ROWS * (total + 1)):
        more = np.arange(min(size, MOST_ROWS) + 1)
        others = np.where(np.arange(len(known)) == cell, 0.0, known)
        windows = np.outer(size - more, others / max(others.sum(), 1))
        windows[:, cell] = more
        reached.append(drift_score(reference, windows, method))
        chances.append(betabinom.sf(more - 1, size, known[cell] + 0.5, total - known[cell] + 0.5))
    if not reached:
        return NO_RARE_ROWS
    scores, chance = np.concatenate(reached), np.concatenate(chances)
    order = np.argsort(scores, kind="stable")
    at_least = np.maximum.accumulate(chance[order][::-1])[::-1]
    return RareRows(tuple(scores[order].tolist()), tuple(at_least.tolist()))
