"""What scores are usual: learnt from stretches of the training rows, of which features tell one another."""

from dataclasses import replace
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter

from mlinfra.monitoring.calibration import (
    UsualScores,
    benjamini_hochberg,
    block_starts,
    usual_scores,
)
from mlinfra.monitoring.references import Reference, reference_of
from mlinfra.monitoring.scores import drift_score
from mlinfra.resources.monitoring import DriftMethod

METHODS: tuple[DriftMethod, ...] = get_args(DriftMethod)
PROBABILITIES = st.floats(1e-5, 0.5)
USUAL = st.builds(UsualScores, st.floats(-8, 2), st.floats(1e-3, 2), st.integers(2, 40), st.floats(1, 400))


def learnt(values: np.ndarray) -> tuple[Reference, np.ndarray]:
    reference = reference_of("x", values)
    starts = block_starts(len(values))
    blocks = [reference.count(values[low:high]) for low, high in pairwise(starts)]
    return reference, np.stack(blocks)


def series(rows: int, follows: float, generator: np.random.Generator) -> np.ndarray:
    noise = generator.normal(size=rows) * np.sqrt(1 - follows**2)
    found: np.ndarray = lfilter([1.0], [1.0, -follows], noise)
    return found


@given(USUAL, PROBABILITIES)
def test_a_score_is_exceeded_as_often_as_was_asked_for(usual: UsualScores, probability: float) -> None:
    score = usual.score_at(probability)
    if 1e-8 < score < 1e300:
        assert usual.probability(score) == pytest.approx(probability, rel=1e-6)


@given(USUAL, PROBABILITIES)
def test_what_is_known_less_never_has_a_lower_threshold(usual: UsualScores, probability: float) -> None:
    more = replace(usual, stretches=usual.stretches + 1, freedom=usual.freedom + 1)
    assert usual.score_at(probability) >= more.score_at(probability) * (1 - 1e-9)


@given(USUAL, st.lists(st.floats(0, 100), min_size=2, max_size=10))
def test_higher_scores_are_less_probable(usual: UsualScores, scores: list[float]) -> None:
    probabilities = [usual.probability(score) for score in sorted(scores)]
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(0 <= each <= 1 for each in probabilities)


@given(st.integers(2, 30), st.integers(0, 1000))
def test_of_values_that_are_normal_the_next_one_exceeds_a_threshold_as_often_as_stated(
    stretches: int, seed: int
) -> None:
    """The prediction interval of Student's t, by its textbook formula."""
    known = np.random.default_rng(seed).normal(size=stretches)
    usual = UsualScores(float(known.mean()), float(known.std(ddof=1)), stretches, stretches - 1)
    expected = stats.t(stretches - 1, known.mean(), known.std(ddof=1) * np.sqrt(1 + 1 / stretches)).isf(0.05)
    assert np.log(usual.score_at(0.05)) == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
def test_windows_as_long_as_a_stretch_are_the_stretches_themselves(method: DriftMethod) -> None:
    values = np.random.default_rng(1).normal(size=3200)
    reference, blocks = learnt(values)
    found = []
    for block in blocks:
        others = replace(reference, counts=reference.counts - block)
        found.append(float(drift_score(others, reference.distribution(block), method)))
    (usual,) = usual_scores([reference], [blocks], 100, method)
    assert (usual.stretches, usual.freedom) == (32, 31)
    # Those that fit by chance are no further below the median than the highest is above it.
    logarithms = np.maximum(np.log(found), 2 * np.median(np.log(found)) - np.log(found).max())
    assert usual.mean == pytest.approx(logarithms.mean())
    assert usual.deviation == pytest.approx(logarithms.std(ddof=1))


@pytest.mark.parametrize(
    ("method", "power"), [("PSI", 1), ("ChiSquared", 0), ("KolmogorovSmirnov", 0.5), ("Wasserstein", 0.5)]
)
def test_scores_of_a_stretch_are_brought_to_the_rows_of_a_window(method: DriftMethod, power: float) -> None:
    reference, blocks = learnt(np.random.default_rng(2).normal(size=6400))
    exact, fewer = (usual_scores([reference], [blocks], rows, method)[0] for rows in (400, 360))
    assert fewer.mean - exact.mean == pytest.approx(power * np.log(400 / 360))
    assert fewer.deviation == pytest.approx(exact.deviation)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_usual_at_another_size_is_what_windows_drawn_at_random_score(method: DriftMethod) -> None:
    """Of independent rows, half as many as a block has."""
    generator = np.random.default_rng(3)
    reference, blocks = learnt(generator.normal(size=32_000))
    windows = np.stack([reference.count(generator.normal(size=500)) for _ in range(200)])
    scores = drift_score(reference, reference.distribution(windows), method)
    (usual,) = usual_scores([reference], [blocks], 500, method)
    assert usual.mean == pytest.approx(np.log(scores).mean(), abs=0.2)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(1, 5000),
    st.sampled_from(METHODS),
    st.sampled_from(["normal", "constant", "missing", "few"]),
)
def test_any_training_gives_a_threshold(rows: int, window: int, method: DriftMethod, kind: str) -> None:
    generator = np.random.default_rng(rows)
    values = {
        "normal": generator.normal(size=rows),
        "constant": np.full(rows, 3.5),
        "missing": np.where(generator.random(rows) < 0.5, np.nan, generator.normal(size=rows)),
        "few": generator.integers(0, 3, rows).astype(np.float64),
    }[kind]
    reference, blocks = learnt(values)
    (usual,) = usual_scores([reference], [blocks], window, method)
    assert usual.stretches >= 2
    assert 0 <= usual.score_at(0.001) < np.inf
    assert usual.score_at(0.001) >= usual.score_at(0.01)


@pytest.mark.parametrize(
    ("follows", "rows", "window"), [(0.0, 4000, 250), (0.9, 4000, 250), (0.97, 8000, 500)]
)
def test_windows_of_the_same_series_exceed_a_threshold_no_more_often_than_stated(
    follows: float, rows: int, window: int
) -> None:
    generator, exceeded, windows = np.random.default_rng(5), 0, 0
    for _ in range(20):
        values = series(rows + 40 * window, follows, generator)
        reference, blocks = learnt(values[:rows])
        threshold = usual_scores([reference], [blocks], window, "PSI")[0].score_at(0.05)
        later = np.stack([reference.count(each) for each in values[rows:].reshape(40, window)])
        exceeded += int((drift_score(reference, reference.distribution(later), "PSI") > threshold).sum())
        windows += len(later)
    # Of 800 windows 40 may; four standard deviations of that more are no chance.
    assert exceeded <= 0.05 * windows + 4 * np.sqrt(0.05 * windows)


def test_a_small_shift_of_independent_rows_is_seen() -> None:
    generator = np.random.default_rng(6)
    reference, blocks = learnt(generator.normal(size=20_000))
    threshold = usual_scores([reference], [blocks], 1000, "PSI")[0].score_at(0.001)
    shifted = np.stack([reference.count(generator.normal(0.25, 1, 1000)) for _ in range(20)])
    scores = drift_score(reference, reference.distribution(shifted), "PSI")
    assert (scores > threshold).mean() >= 0.8


def test_features_tell_one_another_how_far_scores_vary() -> None:
    """Where the training rows hold five windows, one feature alone tells hardly anything."""
    generator = np.random.default_rng(7)
    columns = [learnt(series(1250, 0.9, generator)) for _ in range(10)]
    together = usual_scores(*zip(*columns, strict=True), 250, "PSI")
    alone = [usual_scores([reference], [blocks], 250, "PSI")[0] for reference, blocks in columns]
    assert {each.freedom for each in alone} == {4}
    assert all(each.freedom > 12 for each in together)
    assert [each.mean for each in together] == [each.mean for each in alone]
    limits = [np.median([each.score_at(0.001) for each in usual]) for usual in (together, alone)]
    assert limits[0] < limits[1] / 2


def test_a_feature_that_never_changes_tells_others_nothing() -> None:
    generator = np.random.default_rng(8)
    columns = [learnt(series(1250, 0.9, generator)) for _ in range(4)]
    constant = learnt(np.full(1250, 3.5))
    without = usual_scores(*zip(*columns, strict=True), 250, "PSI")
    *beside, last = usual_scores(*zip(*columns, constant, strict=True), 250, "PSI")
    assert tuple(beside) == without
    assert last.freedom == 4


@pytest.mark.parametrize("common", [0.0, 0.9])
@pytest.mark.parametrize(("follows", "rows", "window"), [(0.9, 1250, 250), (0.97, 8000, 500)])
def test_features_together_breach_no_more_often_than_stated(
    common: float, follows: float, rows: int, window: int
) -> None:
    """Features of their own, and such that rise and fall together; few windows among the training rows."""
    generator, breached, windows = np.random.default_rng(9), [], 20
    for _ in range(15):
        own = [series(rows + windows * window, follows, generator) for _ in range(6)]
        columns = [np.sqrt(common) * own[0] + np.sqrt(1 - common) * each for each in own[1:]]
        known = [learnt(values[:rows]) for values in columns]
        usual = usual_scores(*zip(*known, strict=True), window, "PSI")
        scores = []
        for values, (reference, _) in zip(columns, known, strict=True):
            later = np.stack([reference.count(each) for each in values[rows:].reshape(windows, window)])
            scores.append(drift_score(reference, reference.distribution(later), "PSI"))
        for each in np.transpose(scores):
            probabilities = {str(n): usual[n].probability(score) for n, score in enumerate(each)}
            breached.append(min(probabilities.values()) < benjamini_hochberg(probabilities, 0.05))
    # Windows share their training, so that breaches come together: twice the rate is no chance.
    assert np.mean(breached) <= 2 * 0.05


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("window", [100, 500, 2000, 10_000])
@pytest.mark.parametrize("values", [np.zeros(20_000, bool), np.full(20_000, 3.0)], ids=["boolean", "number"])
def test_a_constant_column_breaches_when_it_changes_and_not_by_one_row(
    values: np.ndarray, window: int, method: DriftMethod
) -> None:
    reference, blocks = learnt(values)
    threshold = usual_scores([reference], [blocks], window, method)[0].score_at(0.001)
    scores = []
    for changed in (0, 1, window // 10, window):
        later = np.repeat(values[:1], window)
        later[:changed] = values[0] + 1
        scores.append(float(drift_score(reference, reference.distribution(reference.count(later)), method)))
    assert [score > threshold for score in scores] == [False, False, True, True]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("window", [100, 500, 2000])
def test_rare_events_breach_no_more_often_than_stated(window: int, method: DriftMethod) -> None:
    generator = np.random.default_rng(10)
    reference, blocks = learnt(generator.random(20_000) < 0.001)
    threshold = usual_scores([reference], [blocks], window, method)[0].score_at(0.01)
    later = np.stack([reference.count(generator.random(window) < 0.001) for _ in range(1000)])
    exceeded = drift_score(reference, reference.distribution(later), method) > threshold
    # How rare the event is, is known from some 20 of them only: twice the rate is no chance.
    assert exceeded.mean() <= 2 * 0.01


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("share", [0.01, 0.3])
def test_a_boolean_that_changes_wholly_breaches_however_large_the_window(
    share: float, method: DriftMethod
) -> None:
    """Of windows as large as half the training rows there are four stretches, of which some fit by chance."""
    changed = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        reference, blocks = learnt(generator.random(20_000) < share)
        threshold = usual_scores([reference], [blocks], 10_000, method)[0].score_at(0.01)
        later = reference.count(np.ones(10_000, bool))
        changed.append(drift_score(reference, reference.distribution(later), method) > threshold)
    assert np.mean(changed) >= 0.8
