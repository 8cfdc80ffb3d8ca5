"""What a score reaches although nothing drifted: learnt from stretches of the training rows themselves.

Rows that follow one another resemble one another, so a window of them is further from all training rows than
as many rows drawn at random. Therefore the training rows are kept as consecutive blocks, and the scores of
stretches of a few neighbouring blocks, against all others, tell what is usual. There are few such stretches:
how far their scores vary is known as poorly as from so few values (Student's t), and better by what features
tell one another.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.moderation import Numbers, independent_features, moderated_variances
from mlinfra.monitoring.references import Cells, Reference
from mlinfra.monitoring.rows_of_one_cell import NOTHING_REACHED, RowsOfOneCell, rows_of_one_cell
from mlinfra.monitoring.scores import drift_score
from mlinfra.resources.monitoring import DriftMethod

BLOCKS = 32
LEAST_ROWS = 20
"""In a block; fewer rows make fewer blocks."""
LARGEST_SHARE = 4
"""A window that is a larger part of the training rows than one in so many counts as one of that size."""
DRAWS = 256
"""Windows that are drawn of training rows too few for two blocks."""
SHRINKS: Mapping[DriftMethod, float] = {
    "PSI": 1.0,
    "ChiSquared": 0.0,
    "JensenShannon": 0.5,
    "KolmogorovSmirnov": 0.5,
    "Wasserstein": 0.5,
    "LInfinity": 0.5,
}
"""Power of a window's rows that its score shrinks by where nothing drifted: a divergence is a square of
distances, and Pearson's statistic is one that is counted in rows.
"""
SEED = 20_260_101
SMALLEST = 1e-9
"""A score below counts as this one in the logarithm."""
LEAST_DEVIATION = 0.03
"""Of logarithms: those of a feature that never changes vary by less, and any other's by more."""
LARGEST_LOGARITHM = 700.0
"""Of a score that is a number."""


@dataclass(frozen=True, slots=True)
class UsualScores:
    """Scores of windows without drift; their logarithms are taken to be normal.

    Attributes:
        mean, deviation: of the natural logarithm of the score.
        stretches: separate ones that the mean was learnt from, at least 2.
        freedom: degrees of freedom of the deviation.
        one_cell: what the rows of one cell alone reach: no score is less probable.
    """

    mean: float
    deviation: float
    stretches: int
    freedom: float
    one_cell: RowsOfOneCell = NOTHING_REACHED

    def probability(self, score: float) -> float:
        """How probable a score at least as high is where nothing drifted."""
        from scipy.special import stdtr

        away = (float(np.log(max(score, SMALLEST))) - self.mean) / self._spread
        return max(float(stdtr(self.freedom, -away)), self.one_cell.probability(score))

    def score_at(self, probability: float) -> float:
        """The score that is exceeded with a probability."""
        from scipy.special import stdtrit

        away = -float(stdtrit(self.freedom, probability))
        usual = float(np.exp(min(self.mean + self._spread * away, LARGEST_LOGARITHM)))
        return max(usual, self.one_cell.score_at(probability))

    @property
    def _spread(self) -> float:
        """Of one more score, beside those that the mean was learnt from."""
        return self.deviation * math.sqrt(1 + 1 / self.stretches)


def block_starts(rows: int) -> NDArray[np.int64]:
    """Where each block of consecutive rows starts, and at last where the rows end."""
    blocks = max(1, min(BLOCKS, rows // LEAST_ROWS))
    return np.linspace(0, rows, blocks + 1).astype(np.int64)


def usual_scores(
    references: Sequence[Reference],
    blocks: Sequence[NDArray[np.int64]],
    rows: int,
    method: DriftMethod,
) -> tuple[UsualScores, ...]:
    """What windows of ``rows`` rows score where nothing drifted. The same arguments give the same answer.

    Args:
        references: of each column.
        blocks: counts of each block of consecutive training rows, the same rows for all columns,
            (blocks, cells) each.
        rows: in a window.
        method: how distributions are compared.
    """
    if not references:
        return ()
    scored = [_stretches(*each, rows, method) for each in zip(references, blocks, strict=True)]
    stretches = scored[0][1]
    logarithms = np.stack([each for each, _ in scored])
    freedom = np.full(len(logarithms), float(stretches - 1))
    # Overlapping stretches vary less around their own mean than separate ones do around the true one.
    variances = logarithms.var(axis=1) * stretches / (stretches - 1)
    varying = variances > LEAST_DEVIATION**2
    if varying.any():
        independent = independent_features(logarithms[varying])
        variances[varying], freedom[varying] = moderated_variances(
            variances[varying], stretches - 1, independent
        )
    deviations = np.maximum(np.sqrt(variances), LEAST_DEVIATION)
    means = logarithms.mean(axis=1)
    return tuple(
        UsualScores(
            float(mean), float(deviation), stretches, float(own), rows_of_one_cell(reference, rows, method)
        )
        for reference, mean, deviation, own in zip(references, means, deviations, freedom, strict=True)
    )


def _stretches(
    reference: Reference, blocks: NDArray[np.int64], rows: int, method: DriftMethod
) -> tuple[Numbers, int]:
    """Logarithms of the scores of stretches of the training rows, and how many separate ones there are."""
    counts = np.stack([reference.distribution(each) for each in blocks])
    total = counts.sum(axis=0)
    if len(counts) == 1:
        windows = np.random.default_rng(SEED).multinomial(rows, total / max(total.sum(), 1), size=DRAWS)
        return _logarithms(drift_score(reference, windows, method)), DRAWS
    size, most = max(1.0, total.sum() / len(counts)), max(1, len(counts) // LARGEST_SHARE)
    together = int(np.clip(round(rows / size), 1, most))
    found = []
    for start in range(len(counts) - together + 1):
        own = counts[start : start + together].sum(axis=0)
        # Compared with the rows that the stretch is not made of, as later rows will be.
        others = replace(reference, counts=_raw(reference, total - own))
        # Rows left out of a stretch would make a window of rows less like their neighbours.
        longer = own.sum() / min(rows, most * size)
        found.append(drift_score(others, own, method) * longer ** SHRINKS[method])
    return _logarithms(np.array(found)), len(counts) // together


def _logarithms(scores: Numbers) -> Numbers:
    """Logarithms, none further below the median than the highest is above it.

    A distance from zero that varies has a long tail of logarithms below, from stretches that happen to be
    nearly like all others; how far others may be away, these do not tell.
    """
    logarithms = np.log(np.maximum(scores, SMALLEST))
    lowest = 2 * float(np.median(logarithms)) - float(logarithms.max())
    return np.maximum(logarithms, lowest)


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
