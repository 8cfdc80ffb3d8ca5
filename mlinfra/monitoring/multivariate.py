"""Whether rows differ from the reference in how their features go together, which no single feature shows.

A batch check over the rows themselves; counters of single features cannot answer it.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlinfra.errors import InvalidInputError

MultivariateMethod = Literal["PCAReconstruction", "DomainClassifier"]
EXPLAINED = 0.65
"""Share of the variance that the components keep."""
TAIL = 0.001
"""Values beyond these quantiles of the reference count as the quantile: one outlier decides nothing."""
FOLDS = 3
ROWS_WORTH_THREADS = 50_000
"""Trees over fewer are grown by one thread: several would wait for one another most of the time, and for long
where the machine is busy.
"""
FEWEST_ROWS = 30


@dataclass(frozen=True, slots=True)
class MultivariateScore:
    """What a check of rows came to.

    Attributes:
        method: how the rows were compared.
        score: mean reconstruction error over the reference's, from its standard deviation per row; or the
            area under the ROC curve of a classifier that tells the rows from the reference's.
        lower, upper: without drift the score leaves them with the false alarm rate.
    """

    method: MultivariateMethod
    score: float
    lower: float
    upper: float

    @property
    def drifted(self) -> bool:
        """Whether the score is outside its bounds."""
        return not self.lower <= self.score <= self.upper


def multivariate_drift(
    reference: NDArray[np.floating[Any]],
    current: NDArray[np.floating[Any]],
    *,
    method: MultivariateMethod = "PCAReconstruction",
    false_alarm_rate: float = 0.01,
) -> MultivariateScore:
    """Compare rows with those of the reference.

    The bounds take rows as independent draws; for rows that follow one another closely, thin them first.

    Args:
        reference: NaN where missing, (rows, features).
        current: the same features, (rows, features).
        method: ``PCAReconstruction`` sees that linear relations changed, at little cost;
            ``DomainClassifier`` (gradient boosting) sees any difference.
        false_alarm_rate: share of checks without drift that may find one; the classifier's bound is wider.

    Raises:
        InvalidInputError: too few rows, other features, or infinite values.
    """
    if reference.shape[1] != current.shape[1]:
        raise InvalidInputError(
            f"the reference has {reference.shape[1]} features and the rows to compare {current.shape[1]}"
        )
    fewest = min(len(reference) // 2, len(current))
    if fewest < FEWEST_ROWS:
        raise InvalidInputError(
            f"{len(reference):,} reference rows and {len(current):,} to compare: a multivariate check needs "
            f"{2 * FEWEST_ROWS} and {FEWEST_ROWS}"
        )
    if np.isinf(reference).any() or np.isinf(current).any():
        raise InvalidInputError("some features are infinite; a multivariate check takes numbers, or no value")
    if method == "DomainClassifier":
        return _domain_classifier(reference, current, false_alarm_rate)
    return _reconstruction(reference, current, false_alarm_rate)


def _reconstruction(
    reference: NDArray[np.floating[Any]], current: NDArray[np.floating[Any]], false_alarm_rate: float
) -> MultivariateScore:
    from scipy import stats
    from sklearn.decomposition import PCA

    empty = np.flatnonzero(np.isnan(reference).all(axis=0))
    if len(empty):
        raise InvalidInputError(
            f"feature {empty[0] + 1} of {reference.shape[1]} has no value in any reference row: leave it "
            "out, or use the DomainClassifier"
        )
    middle = np.nanmedian(reference, axis=0)
    low, high = np.nanquantile(reference, [TAIL, 1 - TAIL], axis=0)
    rows, others = (
        np.clip(np.where(np.isnan(part), middle, part), low, high) for part in (reference, current)
    )
    learnt, kept = rows[::2], rows[1::2]
    mean, deviation = learnt.mean(axis=0), learnt.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    components = PCA(n_components=EXPLAINED, svd_solver="full").fit((learnt - mean) / scale)

    def errors(part: NDArray[np.float64]) -> NDArray[np.float64]:
        standard = (part - mean) / scale
        again = components.inverse_transform(components.transform(standard))
        found: NDArray[np.float64] = np.linalg.norm(standard - again, axis=1)
        return found

    usual, now = errors(kept), errors(others)
    spread = float(usual.std(ddof=1)) or 1.0
    bound = float(stats.norm.isf(false_alarm_rate / 2)) * float(np.sqrt(1 / len(now) + 1 / len(usual)))
    return MultivariateScore("PCAReconstruction", float(now.mean() - usual.mean()) / spread, -bound, bound)


def _domain_classifier(
    reference: NDArray[np.floating[Any]], current: NDArray[np.floating[Any]], false_alarm_rate: float
) -> MultivariateScore:
    from scipy import stats
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rows = np.concatenate([reference, current]).astype(np.float64)
    is_new = np.repeat([0, 1], [len(reference), len(current)])
    model = HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(rows, is_new)
    areas, variances = [], []
    for learnt, kept in folds:
        with threadpool_limits(None if len(rows) >= ROWS_WORTH_THREADS else 1, user_api="openmp"):
            answers = model.fit(rows[learnt], is_new[learnt]).predict_proba(rows[kept])[:, 1]
        new = int(is_new[kept].sum())
        old = len(kept) - new
        areas.append(float(roc_auc_score(is_new[kept], answers)))
        # Of the Mann-Whitney statistic, which the area is, where both come from one distribution.
        variances.append((new + old + 1) / (12 * new * old))
    # The folds learn from the same rows, so their areas go together: three say little more than one.
    error = float(np.sqrt(np.mean(variances)))
    upper = 0.5 + float(stats.norm.isf(false_alarm_rate)) * error
    return MultivariateScore("DomainClassifier", float(np.mean(areas)), 0.0, upper)
