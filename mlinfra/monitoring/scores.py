"""How far two distributions are apart, from their counts alone. Pure.

Counts are those of `Reference.distribution`: bins in rising order or categories, and last the rows without a
value. ``reference`` is (cells,), or (columns, 1, cells) for several columns at once; ``current`` is (cells,),
or (windows, cells) for several windows, or (columns, windows, cells), and the result has the shape of what is
left of it. Every score is 0 where the distributions are equal.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.references import NumericReference, Reference
from mlinfra.resources.monitoring import DriftMethod

HALF_A_ROW = 0.5
"""Added to each cell before a logarithm is taken, so that an empty one does not make a score infinite."""

Numbers = NDArray[np.float64]


def population_stability_index(
    reference: NDArray[Any], current: NDArray[Any], *, added: float = HALF_A_ROW
) -> Numbers:
    """PSI: sum of (q - p) ln(q / p), the symmetrised Kullback-Leibler divergence, in nats.

    Args:
        reference, current: counts.
        added: rows added to each cell that one of the two knows; 0 gives the textbook's value.
    """
    expected, found = _smoothed(reference, added), _smoothed(current, added)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = (found - expected) * (np.log(found) - np.log(expected))
    return _numbers(np.where(found == expected, 0.0, terms).sum(axis=-1))


def jensen_shannon_distance(reference: NDArray[Any], current: NDArray[Any]) -> Numbers:
    """Square root of the Jensen-Shannon divergence to base 2: between 0 and 1."""
    expected, found = _smoothed(reference, 0.0), _smoothed(current, 0.0)
    middle = (expected + found) / 2
    divergence = (_entropy_terms(expected, middle) + _entropy_terms(found, middle)).sum(axis=-1) / 2
    return _numbers(np.sqrt(np.clip(divergence / np.log(2), 0.0, 1.0)))


def kolmogorov_smirnov(reference: NDArray[Any], current: NDArray[Any]) -> Numbers:
    """Greatest distance of the two cumulative distributions, at the edges of the bins."""
    difference = _smoothed(current, 0.0).cumsum(axis=-1) - _smoothed(reference, 0.0).cumsum(axis=-1)
    return _numbers(np.abs(difference).max(axis=-1))


def l_infinity(reference: NDArray[Any], current: NDArray[Any]) -> Numbers:
    """Greatest difference of the share of a cell."""
    return _numbers(np.abs(_smoothed(current, 0.0) - _smoothed(reference, 0.0)).max(axis=-1))


def chi_squared(reference: NDArray[Any], current: NDArray[Any]) -> Numbers:
    """Pearson's statistic of the two-sample test of homogeneity; it grows with the rows of the window."""
    total = (reference + current).astype(np.float64)
    rows, references = current.sum(axis=-1, keepdims=True), reference.sum(axis=-1, keepdims=True)
    everything = np.maximum(rows + references, 1)
    statistic = np.zeros(np.shape(current)[:-1])
    for counts, size in ((reference, references), (current, rows)):
        expected = total * size / everything
        terms = np.divide(
            np.square(counts - expected), expected, out=np.zeros_like(total), where=expected > 0
        )
        statistic = statistic + terms.sum(axis=-1)
    return statistic


def wasserstein(reference: NumericReference, current: NDArray[Any]) -> Numbers:
    """Area between the two cumulative distributions, in standard deviations of the training rows.

    The distributions are straight between the edges of the bins, and end at the reference's ends: neither
    in training nor later a single value moves the score by its distance. Rows without a value do not count.
    """
    low, high = reference.ends
    bounds = np.clip(np.concatenate([[low], reference.edges, [high]]), low, high)
    expected = _smoothed(reference.distribution(reference.counts)[:-1], 0.0).cumsum()
    found = _smoothed(np.asarray(current)[..., :-1], 0.0).cumsum(axis=-1)
    height = np.abs(found - expected)
    height = np.concatenate([np.zeros((*height.shape[:-1], 1)), height], axis=-1)
    area = ((height[..., 1:] + height[..., :-1]) / 2 * np.diff(bounds)).sum(axis=-1)
    return _numbers(area / (reference.deviation or 1.0))


_OF_COUNTS: Mapping[DriftMethod, Callable[[NDArray[Any], NDArray[Any]], Numbers]] = {
    "PSI": population_stability_index,
    "JensenShannon": jensen_shannon_distance,
    "KolmogorovSmirnov": kolmogorov_smirnov,
    "ChiSquared": chi_squared,
    "LInfinity": l_infinity,
}
UNORDERED: Mapping[DriftMethod, DriftMethod] = {
    "KolmogorovSmirnov": "LInfinity",
    "Wasserstein": "LInfinity",
}
"""What takes the place of a method that needs an order, for categories."""


def drift_scores(
    references: Sequence[Reference], counts: Mapping[str, NDArray[Any]], method: DriftMethod
) -> dict[str, Numbers]:
    """How far windows are from the references of several columns, by the column's name, (windows,) each.

    Args:
        references: of the columns.
        counts: rows by cell of each column, by name, (windows, cells) each.
        method: how; see `UNORDERED` for categories.
    """
    found: dict[str, Numbers] = {}
    alike: dict[tuple[bool, int], list[Reference]] = {}
    for each in references:
        alike.setdefault((each.ordered, each.cells), []).append(each)
    for (ordered, _), columns in alike.items():
        current = [each.distribution(counts[each.name]) for each in columns]
        if ordered and method == "Wasserstein":
            scores = [drift_score(each, own, method) for each, own in zip(columns, current, strict=True)]
        else:
            # Columns with the same number of cells take one pass, which is as quick as that of a single one.
            known = np.stack([each.distribution(each.counts) for each in columns])[:, np.newaxis]
            by_counts = _OF_COUNTS[method if ordered else UNORDERED.get(method, method)]
            scores = list(by_counts(known, np.stack(current)))
        found.update({each.name: own for each, own in zip(columns, scores, strict=True)})
    return found


def drift_score(reference: Reference, current: NDArray[Any], method: DriftMethod) -> Numbers:
    """How far counts of a window are from a column's reference.

    Args:
        reference: of the column.
        current: counts of `Reference.distribution`, (cells,) or (windows, cells).
        method: how; see `UNORDERED` for categories.
    """
    if not reference.ordered:
        method = UNORDERED.get(method, method)
    if method == "Wasserstein":
        assert isinstance(reference, NumericReference)
        return wasserstein(reference, current)
    return _OF_COUNTS[method](reference.distribution(reference.counts), current)


def _smoothed(counts: NDArray[Any], added: float) -> Numbers:
    """Shares of the cells; of no rows at all each cell has the same share of what is added."""
    raised = np.asarray(counts, dtype=np.float64) + added
    total = raised.sum(axis=-1, keepdims=True)
    shares: Numbers = np.divide(raised, total, out=np.zeros_like(raised), where=total > 0)
    return shares


def _entropy_terms(shares: Numbers, middle: Numbers) -> Numbers:
    known = (shares > 0) & (middle > 0)
    ratio = np.divide(shares, middle, out=np.ones_like(middle), where=known)
    terms: Numbers = shares * np.log(ratio)
    return terms


def _numbers(result: Any) -> Numbers:
    return np.asarray(result, dtype=np.float64)
