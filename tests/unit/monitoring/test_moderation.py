"""Variances that features tell one another: known answers, and what holds for any."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlinfra.monitoring.moderation import independent_features, moderated_variances

VARIANCES = st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=12).map(np.array)
FREEDOM = st.integers(1, 40)


@given(VARIANCES, FREEDOM, st.floats(1, 12))
def test_variances_move_towards_one_another_and_are_known_better(
    variances: np.ndarray, freedom: int, independent: float
) -> None:
    moderated, known = moderated_variances(variances, freedom, independent)
    assert freedom <= known <= freedom * independent * (1 + 1e-9)
    order = np.argsort(variances, kind="stable")
    assert (np.diff(moderated[order]) >= -1e-9 * moderated[order][1:]).all()
    assert moderated.max() / moderated.min() <= variances.max() / variances.min() * (1 + 1e-9)


@given(VARIANCES, FREEDOM, st.floats(1, 12), st.floats(1e-3, 1e3))
def test_the_unit_changes_nothing_else(
    variances: np.ndarray, freedom: int, independent: float, unit: float
) -> None:
    moderated, known = moderated_variances(variances, freedom, independent)
    scaled, same = moderated_variances(variances * unit, freedom, independent)
    assert scaled == pytest.approx(moderated * unit, rel=1e-4)
    assert same == pytest.approx(known, rel=1e-4)


@given(st.floats(1e-4, 1e4), FREEDOM)
def test_one_feature_alone_is_told_nothing(variance: float, freedom: int) -> None:
    moderated, known = moderated_variances(np.array([variance]), freedom, 1.0)
    assert moderated[0] == pytest.approx(variance)
    assert known == freedom


@given(VARIANCES, FREEDOM)
def test_features_that_tell_as_much_as_one_lend_nothing(variances: np.ndarray, freedom: int) -> None:
    moderated, known = moderated_variances(variances, freedom, 1.0)
    assert moderated == pytest.approx(variances)
    assert known == freedom


def test_variances_that_differ_by_chance_alone_are_taken_for_one() -> None:
    found = 3.0 * np.random.default_rng(1).chisquare(6, size=10) / 6
    moderated, known = moderated_variances(found, 6, 10.0)
    assert known == pytest.approx(60)
    assert moderated.std() < found.std() / 5


def test_the_prior_that_variances_were_drawn_from_is_found() -> None:
    """True variances follow 8 * 2 / chi-squared of 8, and those of samples have 5 degrees of freedom."""
    generator, many = np.random.default_rng(2), 200_000
    true = 8 * 2.0 / generator.chisquare(8, many)
    found = true * generator.chisquare(5, many) / 5
    moderated, known = moderated_variances(found, 5, math.inf)
    assert known == pytest.approx(5 + 8, rel=0.03)
    assert moderated == pytest.approx((5 * found + 8 * 2.0) / 13, rel=0.03)
    # The moderated t statistic has Student's law of all the degrees of freedom.
    statistic = generator.normal(size=many) * np.sqrt(true / moderated)
    assert (statistic > stats.t(known).isf(0.001)).mean() == pytest.approx(0.001, abs=0.0003)


@given(st.integers(1, 8), st.integers(2, 40), st.integers(0, 1000))
def test_features_count_as_one_to_all_of_them(features: int, values: int, seed: int) -> None:
    found = np.random.default_rng(seed).normal(size=(features, values))
    assert 1 - 1e-9 <= independent_features(found) <= features + 1e-9
    assert independent_features(np.repeat(found[:1], features, axis=0)) == pytest.approx(1)


def test_features_that_resemble_one_another_tell_as_much_as_so_many_independent_ones() -> None:
    """By the variance of the mean of their sample variances."""
    generator, features, values = np.random.default_rng(3), 5, 6
    common = generator.normal(size=(20_000, 1, values))
    found = np.sqrt(0.7) * common + np.sqrt(0.3) * generator.normal(size=(20_000, features, values))
    pooled = found.var(axis=2, ddof=1).mean(axis=1)
    expected = 2 / (values - 1) / pooled.var()
    long = found.transpose(1, 0, 2).reshape(features, -1)
    assert independent_features(long) == pytest.approx(expected, rel=0.05)
