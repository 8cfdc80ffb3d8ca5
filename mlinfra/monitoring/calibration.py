"""What a score reaches although nothing drifted: learnt from stretches of the training rows themselves.

Rows that follow one another resemble one another, so a window of them is further from all training rows than
as many rows drawn at random. Therefore the training rows are kept as consecutive blocks, and the scores of
windows drawn from a few neighbouring blocks, against all others, tell what is usual.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.references import Cells, Reference
from mlinfra.monitoring.scores import drift_score
from mlinfra.resources.monitoring import DriftMethod

BLOCKS = 32
LEAST_ROWS = 20
"""In a block; fewer rows make fewer blocks."""
LARGEST_SHARE = 4
"""A window that is a larger part of the training rows than one in so many counts as one of that size."""
DRAWS = 256
SEED = 20_260_101
SMALLEST = 1e-9
"""A score below counts as this one in the logarithm."""


@dataclass(frozen=True, slots=True)
class UsualScores:
    """Scores of windows without drift; their logarithms are taken to be normal.

    Attributes:
        mean, deviation: of the natural logarithm of the score.
    """

    mean: float
    deviation: float

    def probability(self, score: float) -> float:
        """How probable a score at least as high is where nothing drifted."""
        return NormalDist(self.mean, self.deviation).cdf(2 * self.mean - float(np.log(max(score, SMALLEST))))

    def score_at(self, probability: float) -> float:
        """The score that is exceeded with a probability."""
        return float(np.exp(NormalDist(self.mean, self.deviation).inv_cdf(1.0 - probability)))


def block_starts(rows: int) -> NDArray[np.int64]:
    """Where each block of consecutive rows starts, and at last where the rows end."""
    blocks = max(1, min(BLOCKS, rows // LEAST_ROWS))
    return np.linspace(0, rows, blocks + 1).astype(np.int64)


def usual_scores(
    reference: Reference, blocks: NDArray[np.int64], rows: int, method: DriftMethod
) -> UsualScores:
    """What windows of ``rows`` rows score where nothing drifted. The same arguments give the same answer.

    Args:
        reference: of the column.
        blocks: counts of each block of consecutive training rows, (blocks, cells).
        rows: in a window.
        method: how distributions are compared.
    """
    counts = np.stack([reference.distribution(each) for each in blocks])
    total = counts.sum(axis=0)
    size = max(1.0, total.sum() / len(counts))
    together = int(np.clip(round(rows / size), 1, max(1, len(counts) // LARGEST_SHARE)))
    starts = range(len(counts) - together + 1)
    draws, generator = max(2, DRAWS // len(starts)), np.random.default_rng(SEED)
    found = []
    for start in starts:
        own = counts[start : start + together].sum(axis=0)
        others = total - own if len(counts) > together else own
        windows = generator.multinomial(rows, own / max(own.sum(), 1), size=draws)
        # Compared with the rows that the window is not made of, as later rows will be.
        found.append(drift_score(replace(reference, counts=_raw(reference, others)), windows, method))
    logarithms = np.log(np.maximum(np.concatenate(found), SMALLEST))
    return UsualScores(float(logarithms.mean()), max(float(logarithms.std()), 1e-3))


def _raw(reference: Reference, distribution: Cells) -> Cells:
    """Counts by cell that have a distribution."""
    if not reference.ordered:
        return distribution
    return np.concatenate([[0], distribution[:-1], [0], distribution[-1:]])


def benjamini_hochberg(probabilities: Mapping[str, float], rate: float) -> float:
    """The probability below which one counts as a discovery, at a false discovery rate.

    Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995). Where none is small enough,
    what the smallest would have had to be.
    """
    tests = max(len(probabilities), 1)
    ordered = sorted(probabilities.values())
    ranks = [rank for rank, value in enumerate(ordered, start=1) if value <= rank * rate / tests]
    return max(ranks, default=1) * rate / tests
