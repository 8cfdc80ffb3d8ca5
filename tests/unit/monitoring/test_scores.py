"""Scores against the textbook and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

from mlinfra.monitoring.references import NumericReference, reference_of
from mlinfra.monitoring.scores import (
    chi_squared,
    drift_score,
    drift_scores,
    jensen_shannon_distance,
    kolmogorov_smirnov,
    l_infinity,
    population_stability_index,
    wasserstein,
)
from mlinfra.resources.monitoring import DriftMethod

COUNTS = arrays(np.int64, 8, elements=st.integers(0, 500)).filter(lambda counts: counts.sum() > 0)
FULL = arrays(np.int64, 8, elements=st.integers(1, 500))
RANDOM = np.random.default_rng(2)
METHODS: tuple[DriftMethod, ...] = (
    "PSI",
    "JensenShannon",
    "KolmogorovSmirnov",
    "Wasserstein",
    "ChiSquared",
    "LInfinity",
)


@given(FULL, FULL)
def test_psi_is_the_textbooks(reference: np.ndarray, current: np.ndarray) -> None:
    p, q = reference / reference.sum(), current / current.sum()
    expected = ((q - p) * np.log(q / p)).sum()
    assert population_stability_index(reference, current, added=0.0) == pytest.approx(expected, abs=1e-12)


@given(COUNTS, COUNTS)
def test_jensen_shannon_is_scipys(reference: np.ndarray, current: np.ndarray) -> None:
    expected = jensenshannon(reference, current, base=2)
    assert jensen_shannon_distance(reference, current) == pytest.approx(expected, abs=1e-6)


@given(COUNTS, COUNTS)
def test_kolmogorov_smirnov_is_scipys_on_the_bins(reference: np.ndarray, current: np.ndarray) -> None:
    bins = np.arange(8)
    expected = ks_2samp(np.repeat(bins, reference), np.repeat(bins, current)).statistic
    assert kolmogorov_smirnov(reference, current) == pytest.approx(expected, abs=1e-12)


@given(FULL, FULL)
def test_chi_squared_is_scipys(reference: np.ndarray, current: np.ndarray) -> None:
    expected = chi2_contingency(np.stack([reference, current]), correction=False).statistic
    assert chi_squared(reference, current) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(COUNTS, COUNTS)
def test_l_infinity_is_the_greatest_difference_of_a_share(reference: np.ndarray, current: np.ndarray) -> None:
    expected = np.abs(reference / reference.sum() - current / current.sum()).max()
    assert l_infinity(reference, current) == pytest.approx(expected, abs=1e-12)


def test_of_values_the_scores_come_near_the_unbinned_ones() -> None:
    training, later = RANDOM.normal(size=20_000), RANDOM.normal(0.3, 1.1, size=5_000)
    reference = reference_of("x", training, bins=400)
    assert isinstance(reference, NumericReference)
    counts = reference.distribution(reference.count(later))
    distance = wasserstein_distance(training, later) / training.std()
    assert wasserstein(reference, counts) == pytest.approx(distance, rel=0.03)
    statistic = ks_2samp(training, later).statistic
    assert drift_score(reference, counts, "KolmogorovSmirnov") == pytest.approx(statistic, abs=0.004)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_equal_scores_nothing(method: DriftMethod) -> None:
    for values in (RANDOM.normal(size=1000), RANDOM.integers(0, 4, 1000)):
        reference = reference_of("x", values)
        assert drift_score(reference, reference.distribution(reference.counts), method) == pytest.approx(0.0)


@pytest.mark.parametrize("method", METHODS)
@given(current=arrays(np.int64, 21, elements=st.integers(0, 300)))
def test_scores_are_finite_and_not_negative(method: DriftMethod, current: np.ndarray) -> None:
    reference = reference_of("x", np.arange(1000.0))
    score = drift_score(reference, current, method)
    assert np.isfinite(score)
    assert score >= -1e-12


@pytest.mark.parametrize(
    ("training", "later", "at_most"),
    [
        (RANDOM.normal(size=20_000), RANDOM.normal(0.3, 1.0, 20_000), 1.1),
        # Long tails: the outer bins are wide, and within a bin the distributions are taken for straight.
        (RANDOM.lognormal(size=20_000), 1.3 * RANDOM.lognormal(size=20_000), 1.7),
        (RANDOM.standard_t(2, 20_000), RANDOM.standard_t(2, 20_000) + 0.3, 1.7),
    ],
    ids=["normal", "lognormal", "t"],
)
def test_twenty_bins_are_near_what_scipy_finds_in_the_values(
    training: np.ndarray, later: np.ndarray, at_most: float
) -> None:
    reference = reference_of("x", training)
    counts = reference.distribution(reference.count(later))
    assert isinstance(reference, NumericReference)
    assert drift_score(reference, counts, "KolmogorovSmirnov") == pytest.approx(
        ks_2samp(training, later).statistic, abs=0.01
    )
    clipped = [np.clip(values, *reference.ends) for values in (training, later)]
    truth = wasserstein_distance(*clipped) / reference.deviation
    assert 0.95 * truth < drift_score(reference, counts, "Wasserstein") < at_most * truth


@pytest.mark.parametrize("method", METHODS)
def test_one_value_far_off_moves_no_score(method: DriftMethod) -> None:
    training = RANDOM.normal(size=20_000)
    later = RANDOM.normal(0.3, 1.0, size=20_000)
    spoilt = np.append(later[:-1], 1e4)
    reference = reference_of("x", training)
    plain, moved = (
        float(drift_score(reference, reference.distribution(reference.count(values)), method))
        for values in (later, spoilt)
    )
    assert moved == pytest.approx(plain, rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_one_training_value_far_off_moves_no_score(method: DriftMethod) -> None:
    training = RANDOM.normal(size=20_000)
    later = RANDOM.normal(0.3, 1.0, size=20_000)
    plain, moved = (
        float(drift_score(reference, reference.distribution(reference.count(later)), method))
        for reference in (reference_of("x", training), reference_of("x", np.append(training[:-1], 1e4)))
    )
    assert moved == pytest.approx(plain, rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_several_windows_at_once_score_as_one_by_one(method: DriftMethod) -> None:
    reference = reference_of("x", RANDOM.normal(size=2000))
    windows = RANDOM.integers(0, 40, size=(5, 21))
    one_by_one = [float(drift_score(reference, window, method)) for window in windows]
    assert drift_score(reference, windows, method) == pytest.approx(one_by_one)


@pytest.mark.parametrize("method", METHODS)
def test_several_columns_at_once_score_as_one_by_one(method: DriftMethod) -> None:
    columns = {
        "normal": RANDOM.normal(size=2000),
        "even": RANDOM.random(2000),
        "tied": np.round(RANDOM.normal(size=2000)) * 2 + RANDOM.integers(0, 2, 2000),
        "two": RANDOM.integers(0, 2, 2000),
        "three": RANDOM.integers(0, 3, 2000),
        "four": RANDOM.integers(0, 3, 2000) * 2,
    }
    references = [reference_of(name, values) for name, values in columns.items()]
    counts = {each.name: RANDOM.integers(0, 40, (3, each.cells)) for each in references}
    scores = drift_scores(references, counts, method)
    assert scores.keys() == columns.keys()
    for each in references:
        alone = drift_score(each, each.distribution(counts[each.name]), method)
        assert scores[each.name] == pytest.approx(alone)


@pytest.mark.parametrize("method", METHODS)
def test_a_greater_shift_scores_higher(method: DriftMethod) -> None:
    training = RANDOM.normal(size=20_000)
    reference = reference_of("x", training)
    scores = [
        float(drift_score(reference, reference.distribution(reference.count(later)), method))
        for later in (training[:5000] + shift for shift in (0.0, 0.2, 0.5, 1.0))
    ]
    assert scores == sorted(scores)


def test_missing_values_count_as_a_difference_of_distribution() -> None:
    training = RANDOM.normal(size=5000)
    reference = reference_of("x", training)
    half = np.where(np.arange(5000) % 2, np.nan, training)
    counts = reference.distribution(reference.count(half))
    assert drift_score(reference, counts, "LInfinity") == pytest.approx(0.5)
    assert drift_score(reference, counts, "KolmogorovSmirnov") == pytest.approx(0.5, abs=0.02)
