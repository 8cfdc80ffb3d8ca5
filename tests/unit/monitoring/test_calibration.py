"""Estimates of a classifier's performance without labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.monitoring.class_performance import class_performance
from mlinfra.monitoring.class_tally import tally_labels
from mlinfra.monitoring.estimation.calibration import Calibration, estimated_classes, fit_calibration

MEASURES = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier")


def drawn(
    seed: int, rows: int, classes: int, *, overconfidence: float, shift: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Answers of an overconfident model, and labels drawn from the true probabilities."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(shift, 1.2, (rows, classes)) * np.linspace(1, -1, classes)
    true = softmax(logits)
    label = (true.cumsum(axis=1) < generator.random((rows, 1))).sum(axis=1).clip(max=classes - 1)
    return softmax(overconfidence * logits).astype(np.float32), label


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_an_overconfident_model_is_estimated_although_its_inputs_drift(classes: int, shift: float) -> None:
    calibration = fit_calibration(*drawn(1, 20_000, classes, overconfidence=2.5))
    probabilities, label = drawn(2, 20_000, classes, overconfidence=2.5, shift=shift)
    estimated = estimated_classes(calibration, calibration.tally(probabilities))
    measured = class_performance(tally_labels(probabilities, label, calibration.edges))
    for name in MEASURES:
        # One against the rest is exact for two classes; for more it leaves a little.
        slack = 4 * (estimated[name].error + measured[name].error) + (0.0 if classes == 2 else 0.02)
        assert abs(estimated[name].value - measured[name].value) < slack, name
    naive = 1 - probabilities.max(axis=1).mean()
    assert abs(1 - estimated["accuracy"].value - naive) > 0.05


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 200), classes=st.integers(2, 4))
@settings(max_examples=40)
def test_calibrated_probabilities_are_probabilities_and_rise(seed: int, rows: int, classes: int) -> None:
    probabilities, label = drawn(seed, rows, classes, overconfidence=1.5)
    calibration = fit_calibration(probabilities, label)
    calibrated = calibration.calibrated(probabilities)
    assert calibrated.min() >= 0
    assert calibrated.sum(axis=1) == pytest.approx(1)
    assert (np.diff(calibration.right, axis=1) >= -1e-12).all()
    assert (np.diff(calibration.edges, axis=1) >= 0).all()
    assert calibration.tally(probabilities).rows == rows


def test_few_different_probabilities_have_a_bin_each() -> None:
    generator = np.random.default_rng(4)
    score = generator.integers(0, 101, 5000) / 100
    label = (generator.random(5000) < score).astype(np.int64)
    probabilities = np.column_stack([1 - score, score])
    tally = tally_labels(probabilities, label, fit_calibration(probabilities, label).edges)
    assert ((tally.scores.sum(axis=1) > 0).sum(axis=1) == len(np.unique(score))).all()


def test_the_estimate_on_the_held_out_part_is_its_measure() -> None:
    probabilities, label = drawn(5, 3000, 2, overconfidence=1.0)
    calibration = fit_calibration(probabilities, label)
    estimated = estimated_classes(calibration, calibration.tally(probabilities))
    measured = class_performance(tally_labels(probabilities, label, calibration.edges))
    assert estimated["accuracy"].value == pytest.approx(measured["accuracy"].value, abs=0.01)
    assert estimated["accuracy"].error == pytest.approx(np.sqrt(2) * measured["accuracy"].error, rel=0.05)


def test_a_single_held_out_class_is_no_crash() -> None:
    probabilities, _ = drawn(6, 50, 3, overconfidence=1.0)
    calibration = fit_calibration(probabilities, np.zeros(50, dtype=np.int64))
    assert (calibration.calibrated(probabilities)[:, 0] == 1).all()


def test_a_calibration_survives_its_wire_form() -> None:
    probabilities, label = drawn(7, 100, 3, overconfidence=1.0)
    calibration = fit_calibration(probabilities, label)
    again = Calibration.of_wire(calibration.to_wire())
    assert (again.calibrated(probabilities) == calibration.calibrated(probabilities)).all()
    assert again.to_wire() == calibration.to_wire()
