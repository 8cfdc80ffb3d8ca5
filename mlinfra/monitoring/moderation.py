"""What features tell one another of how far their scores vary. Pure.

Moderated variances: Smyth, "Linear models and empirical Bayes methods for assessing differential expression
in microarray experiments", Statistical Applications in Genetics and Molecular Biology 3 (2004). The less the
variances differ beyond what chance explains, the more each is drawn towards the typical one, and the better
it is known.
"""

import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
LEAST = 1e-6
"""Logarithms of variances that vary by less than this beyond what chance explains do not."""


def moderated_variances(variances: Numbers, freedom: float, independent: float) -> tuple[Numbers, float]:
    """Each variance drawn towards the typical one, and the degrees of freedom with which it is known then.

    Args:
        variances: of at least one feature, above 0, (features,).
        freedom: degrees of freedom of each.
        independent: how many features that have nothing to do with one another tell as much as these do: they
            lend no more degrees of freedom than those have.
    """
    typical, prior = _typical(variances, freedom)
    lent = max(0.0, min(prior, freedom * (independent - 1)))
    return (freedom * variances + lent * typical) / (freedom + lent), freedom + lent


def independent_features(values: Numbers) -> float:
    """How many features that have nothing to do with one another tell as much of a variance as these do.

    The sample variances of two normal features correlate by the square of the features' own correlation.

    Args:
        values: none of them constant, (features, values).
    """
    correlations = np.atleast_2d(np.corrcoef(values))
    return float(len(correlations) ** 2 / np.square(correlations).sum())


def _typical(variances: Numbers, freedom: float) -> tuple[float, float]:
    """Scale and degrees of freedom of the inverse chi-squared law that the true variances follow.

    From mean and variance of the logarithms, which chance alone spreads by a trigamma function.
    """
    from scipy.optimize import brentq
    from scipy.special import digamma, polygamma

    if len(variances) < 2:
        return float(variances[0]), 0.0
    logarithms = np.log(variances) - digamma(freedom / 2) + math.log(freedom / 2)
    beyond = float(logarithms.var(ddof=1) - polygamma(1, freedom / 2))
    if beyond < LEAST:
        return float(np.exp(logarithms.mean())), math.inf
    # The trigamma function of x lies between 1 / x and 1 / x + 1 / x**2.
    highest = (1 + math.sqrt(1 + 4 * beyond)) / (2 * beyond)
    half = float(brentq(lambda x: polygamma(1, x) - beyond, 1 / beyond, highest))
    return float(np.exp(logarithms.mean() + digamma(half) - math.log(half))), 2 * half
