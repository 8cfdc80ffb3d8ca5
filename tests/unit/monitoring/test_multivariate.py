"""Drift that no single feature shows."""

import numpy as np
import pytest

from mlinfra.errors import InvalidInputError
from mlinfra.monitoring.multivariate import MultivariateMethod, multivariate_drift

METHODS: tuple[MultivariateMethod, ...] = ("PCAReconstruction", "DomainClassifier")


def drawn(seed: int, rows: int, correlation: float) -> np.ndarray:
    covariance = np.full((4, 4), correlation) + (1 - correlation) * np.eye(4)
    return np.random.default_rng(seed).multivariate_normal(np.zeros(4), covariance, rows)


@pytest.mark.parametrize("method", METHODS)
def test_a_change_of_correlation_alone_is_found(method: MultivariateMethod) -> None:
    assert multivariate_drift(drawn(1, 1200, 0.8), drawn(2, 600, 0.0), method=method).drifted


@pytest.mark.parametrize(("method", "checks"), [("PCAReconstruction", 200), ("DomainClassifier", 8)])
def test_false_alarms_are_as_rare_as_asked(method: MultivariateMethod, checks: int) -> None:
    alarms = [
        multivariate_drift(drawn(seed, 400, 0.5), drawn(10_000 + seed, 200, 0.5), method=method).drifted
        for seed in range(checks)
    ]
    assert np.mean(alarms) <= 0.03


def test_one_outlier_and_missing_values_move_no_score() -> None:
    reference, current = drawn(3, 1000, 0.5), drawn(4, 500, 0.5)
    before = multivariate_drift(reference, current).score
    current[0] = 1e12
    current[1] = np.nan
    assert multivariate_drift(reference, current).score == pytest.approx(before, abs=0.05)


def test_rows_that_cannot_be_compared_are_told() -> None:
    with pytest.raises(InvalidInputError, match="4 features"):
        multivariate_drift(drawn(1, 100, 0.1), np.zeros((100, 3)))
    with pytest.raises(InvalidInputError, match="needs 60 and 30"):
        multivariate_drift(drawn(1, 100, 0.1), drawn(1, 29, 0.1))


def test_infinities_and_features_without_a_value_are_refused() -> None:
    rows = np.random.default_rng(1).normal(size=(200, 3))
    infinite, empty = rows.copy(), rows.copy()
    infinite[3, 1], empty[:, 2] = np.inf, np.nan
    with pytest.raises(InvalidInputError, match="infinite"):
        multivariate_drift(rows, infinite)
    with pytest.raises(InvalidInputError, match="feature 3 of 3 has no value"):
        multivariate_drift(empty, rows)
