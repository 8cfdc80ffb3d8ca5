"""The area under the ROC curve from two histograms of scores. Pure.

Which of two samples in one bin has the higher score is not known; such a pair counts half, as a tie does. The
area is therefore off by no more than half the share of such pairs, which `resolution` tells; it is equal to
scikit-learn's where the scores of different samples fall into different bins or are the same.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 0.5
"""Error of an area that rests on one sample of a class: it may be anything."""


@dataclass(frozen=True, slots=True)
class RankingArea:
    """Area under a ROC curve.

    Attributes:
        value: the area.
        error: its standard error.
        resolution: how far the bins may have moved it at most.
    """

    value: float
    error: float
    resolution: float


def ranking_area(negative: NDArray[np.float64], positive: NDArray[np.float64]) -> RankingArea | None:
    """Area under the ROC curve; None where one of the two has no samples.

    The standard error is that of DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More
    Correlated Receiver Operating Characteristic Curves", Biometrics 44 (1988), from the bins.

    Args:
        negative: samples that are not of the class, by rising bin of the score, (bins,).
        positive: samples of the class, (bins,).
    """
    others, own = float(negative.sum()), float(positive.sum())
    if others <= 0 or own <= 0:
        return None
    below = (np.cumsum(negative) - negative / 2) / others
    above = 1.0 - (np.cumsum(positive) - positive / 2) / own
    area = float((positive * below).sum() / own)
    if others <= 1 or own <= 1:
        error = UNKNOWN
    else:
        spread_own = float((positive * np.square(below - area)).sum()) / (own - 1)
        spread_others = float((negative * np.square(above - area)).sum()) / (others - 1)
        error = float(np.sqrt(spread_own / own + spread_others / others))
    together = float((negative * positive).sum() / (own * others))
    return RankingArea(area, error, together / 2)
