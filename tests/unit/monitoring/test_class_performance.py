"""Counts of labelled answers against the measures that training computes from the rows themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.monitoring.class_performance import class_performance
from mlinfra.monitoring.class_tally import (
    SPREAD,
    ClassTally,
    exact_probabilities,
    scored_classes,
    tally_expected,
    tally_labels,
)
from mlinfra.monitoring.stretches import Stretches
from mlinfra.training.measures import class_measures

FROM_CELLS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")


def edges_of(classes: int, bins: int = 64) -> np.ndarray:
    return np.tile(np.linspace(0, 1, bins + 1)[1:-1], (len(scored_classes(classes)), 1))


def answers(seed: int, rows: int, classes: int, sharpness: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    label = generator.integers(0, classes, rows)
    logits = generator.normal(size=(rows, classes)) + sharpness * np.eye(classes)[label]
    shares = np.exp(logits)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32), label


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 300),
    classes=st.integers(2, 5),
    sharpness=st.floats(0, 8),
)
@settings(max_examples=80)
def test_measures_are_those_of_training(seed: int, rows: int, classes: int, sharpness: float) -> None:
    probabilities, label = answers(seed, rows, classes, sharpness)
    ours = class_performance(tally_labels(probabilities, label, edges_of(classes)))
    theirs = class_measures(probabilities, label)
    assert set(ours) == set(theirs) - {"ece"}
    for name in (*FROM_CELLS, "log_loss", "brier"):
        assert ours[name].value == pytest.approx(theirs[name], abs=1e-9), name
        assert ours[name].resolution == 0
    if "roc_auc" in theirs:
        area = ours["roc_auc"]
        assert abs(area.value - theirs["roc_auc"]) <= area.resolution + 1e-12
        assert area.resolution <= 0.5


@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 4),
    cuts=st.tuples(st.integers(0, 50), st.integers(0, 50)),
)
@settings(max_examples=50)
def test_tallies_of_parts_add_up(seed: int, classes: int, cuts: tuple[int, int]) -> None:
    probabilities, label = answers(seed, 50, classes)
    edges = edges_of(classes, bins=8)
    low, high = sorted(cuts)
    a, b, c = (
        tally_labels(probabilities[part], label[part], edges)
        if part.stop > part.start
        else ClassTally.empty(edges, classes=classes, one=1)
        for part in (slice(0, low), slice(low, high), slice(high, 50))
    )
    assert wire((a + b) + c) == wire(a + (b + c)) == wire(c + a + b)
    whole = class_performance(tally_labels(probabilities, label, edges))
    summed = class_performance(a + b + c)
    assert {name: measure.value for name, measure in summed.items()} == pytest.approx(
        {name: measure.value for name, measure in whole.items()}, abs=1e-11
    )


def test_a_tally_survives_its_wire_form() -> None:
    probabilities, label = answers(3, 40, 3)
    tally = tally_labels(probabilities, label, edges_of(3, bins=8))
    assert wire(ClassTally.of_wire(tally.to_wire())) == wire(tally)


def expected_tally(probabilities: np.ndarray, calibrated: np.ndarray, edges: np.ndarray) -> ClassTally:
    whole = Stretches.whole(len(probabilities))
    return tally_expected(exact_probabilities(probabilities), calibrated, edges, whole)[0]


def test_measured_and_expected_counts_do_not_mix() -> None:
    probabilities, label = answers(3, 40, 2)
    measured = tally_labels(probabilities, label, edges_of(2))
    expected = expected_tally(probabilities, probabilities.astype(np.float64), edges_of(2))
    with pytest.raises(ValueError, match="do not add up"):
        measured + expected


def test_certain_classes_count_as_labels_do() -> None:
    probabilities, label = answers(5, 200, 3)
    expected = expected_tally(probabilities, np.eye(3)[label], edges_of(3))
    measured = tally_labels(probabilities, label, edges_of(3))
    assert (expected.confusion == measured.confusion * SPREAD).all()
    assert class_performance(expected) == class_performance(measured)


@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 4))
@settings(max_examples=30)
def test_each_spread_row_counts_as_one(seed: int, classes: int) -> None:
    probabilities, _ = answers(seed, 60, classes)
    calibrated, _ = answers(seed + 1, 60, classes)
    tally = expected_tally(probabilities, calibrated.astype(np.float64), edges_of(classes, bins=8))
    assert tally.confusion.sum() == 60 * SPREAD
    assert (tally.scores.sum(axis=(1, 2)) == 60 * SPREAD).all()


@pytest.mark.parametrize("classes", [2, 4])
def test_standard_errors_are_those_of_repeated_windows(classes: int) -> None:
    windows = [
        class_performance(tally_labels(*answers(seed, 400, classes), edges_of(classes)))
        for seed in range(400)
    ]
    for name in windows[0]:
        spread = np.std([window[name].value for window in windows])
        told = np.mean([window[name].error for window in windows])
        # Errors of several classes' areas are taken to go together, which overstates them.
        most = 2.2 if name == "roc_auc" and classes > 2 else 1.15
        assert 0.85 * spread < told < most * spread, name


def test_a_small_window_without_a_mistake_is_not_certain() -> None:
    probabilities = np.array([[0.1, 0.9], [0.9, 0.1]], dtype=np.float32)
    measures = class_performance(tally_labels(probabilities, np.array([1, 0]), edges_of(2)))
    assert measures["accuracy"].value == 1
    assert measures["accuracy"].error > 0.1
    assert measures["roc_auc"].error == 0.5


def test_no_answers_have_no_measures() -> None:
    assert class_performance(ClassTally.empty(edges_of(2), classes=2, one=1)) == {}


def wire(tally: ClassTally) -> object:
    return tally.to_wire()
