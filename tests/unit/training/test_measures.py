"""Each measure equals scikit-learn's, or a value worked out one sample at a time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from mlinfra.training.measures import (
    CALIBRATION_BINS,
    calibration_bins,
    calibration_error,
    class_measures,
    confusion_matrix,
    value_measures,
)


@st.composite
def predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of 2 to 4 classes as 32-bit numbers, and labels that need not hold every class."""
    classes, samples = draw(st.integers(2, 4)), draw(st.integers(1, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    raw = random.dirichlet(np.full(classes, draw(st.sampled_from([0.2, 1.0, 10.0]))), samples)
    raw = np.clip(raw, 1e-4, None)
    label = random.integers(0, draw(st.integers(1, classes)), samples)
    return (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32), label


def close(value: float) -> object:
    return pytest.approx(value, rel=1e-6, abs=1e-9)


@given(predictions())
def test_class_measures_are_those_of_scikit_learn(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, label = drawn
    classes = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    exact = probabilities.astype(float)
    exact /= exact.sum(axis=1, keepdims=True)
    two = len(classes) == 2
    how = (
        {"average": "binary", "zero_division": 0}
        if two
        else {"labels": classes, "average": "macro", "zero_division": 0}
    )
    measured = class_measures(probabilities, label)
    assert measured.pop("ece") == close(calibration_error(exact, label))
    expected = {
        "accuracy": metrics.accuracy_score(label, predicted),
        "balanced_accuracy": np.mean([(predicted[label == c] == c).mean() for c in np.unique(label)]),
        "f1": metrics.f1_score(label, predicted, **how),
        "precision": metrics.precision_score(label, predicted, **how),
        "recall": metrics.recall_score(label, predicted, **how),
        "log_loss": metrics.log_loss(label, exact, labels=classes),
        "brier": metrics.brier_score_loss(label, exact[:, 1] if two else exact, labels=classes),
    }
    if len(np.unique(label)) == len(classes):
        expected["roc_auc"] = metrics.roc_auc_score(label, exact[:, 1] if two else exact, multi_class="ovr")
    assert measured == {name: close(value) for name, value in expected.items()}


@given(predictions())
def test_confusion_is_that_of_scikit_learn(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, label = drawn
    count = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    expected = metrics.confusion_matrix(label, predicted, labels=range(count))
    assert confusion_matrix(predicted, label, classes=count).tolist() == expected.tolist()


@given(predictions())
def test_calibration_error_is_the_one_of_the_paper(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, label = drawn
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(CALIBRATION_BINS)]
    for row, right in zip(probabilities, label, strict=True):
        confidence = float(row.max())
        place = math.ceil(round(confidence * CALIBRATION_BINS, 9)) - 1
        bins[min(max(place, 0), CALIBRATION_BINS - 1)].append((confidence, int(row.argmax()) == right))
    error = 0.0
    for held in bins:
        if held:
            gap = abs(sum(ok for _, ok in held) / len(held) - sum(sure for sure, _ in held) / len(held))
            error += len(held) / len(label) * gap
    assert calibration_error(probabilities, label) == pytest.approx(error, abs=1e-6)


def test_calibration_of_certain_answers() -> None:
    certain = np.eye(2)[[0, 1, 1, 1]]
    assert calibration_error(certain, np.array([0, 1, 1, 1])) == 0.0
    assert calibration_error(certain, np.array([1, 1, 1, 1])) == 0.25
    counts, confidence, right = calibration_bins(certain, np.array([1, 1, 1, 1]))
    assert (counts[-1], confidence[-1], right[-1]) == (4, 1.0, 0.75)
    assert np.isnan(confidence[:-1]).all()


def test_one_class_leaves_out_the_area_under_the_curve_only() -> None:
    measured = class_measures(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]))
    assert "roc_auc" not in measured
    assert measured["accuracy"] == measured["balanced_accuracy"] == 0.5
    assert (measured["precision"], measured["recall"], measured["f1"]) == (0.0, 0.0, 0.0)
    assert all(map(math.isfinite, measured.values()))


VALUES = st.lists(
    st.tuples(
        st.floats(-1e4, 1e4, allow_subnormal=False, width=32),
        st.floats(-1e4, 1e4, allow_subnormal=False, width=32),
    ),
    min_size=2,
    max_size=50,
)


@given(VALUES)
def test_value_measures_are_those_of_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    values, label = np.array(pairs, dtype=float).T
    measured = value_measures(values, label)
    expected = {
        "mae": metrics.mean_absolute_error(label, values),
        "rmse": metrics.root_mean_squared_error(label, values),
        "bias": sum(value - right for value, right in zip(values, label, strict=True)) / len(label),
    }
    if len(set(label)) > 1:
        expected["r2"] = metrics.r2_score(label, values)
    if min(abs(label)) > 0.01 * np.mean(abs(label)):
        # scikit-learn divides by no less than the precision of 64 bits, whatever the label's unit.
        unit = max(1.0, np.finfo(float).eps / min(abs(label)))
        expected["mape"] = metrics.mean_absolute_percentage_error(unit * label, unit * values)
    assert measured == {name: pytest.approx(value, rel=1e-6, abs=1e-9) for name, value in expected.items()}


def test_a_label_near_zero_leaves_out_the_relative_error() -> None:
    assert "mape" not in value_measures(np.ones(3), np.array([1.0, 0.0, 2.0]))
    assert "r2" not in value_measures(np.ones(3), np.zeros(3))
