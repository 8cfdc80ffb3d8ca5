"""Measures on held-out samples, beside the best constant answer."""

import numpy as np
import pytest

from mlinfra.training.evaluation import evaluate


def probabilities(*of_second: float) -> np.ndarray:
    second = np.array(of_second, dtype=np.float32)
    return np.stack([1 - second, second], axis=1)


def test_measures_of_two_classes() -> None:
    evaluation = evaluate(probabilities(0.1, 0.2, 0.7, 0.9), np.array([0, 0, 0, 1]))
    assert evaluation.accuracy == 0.75
    assert evaluation.baseline_accuracy == 0.75
    assert evaluation.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert evaluation.f1 == pytest.approx(2 / 3)
    assert evaluation.roc_auc == 1.0
    assert evaluation.log_loss == pytest.approx(-np.log([0.9, 0.8, 0.3, 0.9]).mean(), rel=1e-6)
    assert evaluation.confusion.tolist() == [[2, 1], [0, 1]]


def test_keys_are_those_that_gates_read() -> None:
    metrics = evaluate(probabilities(0.1, 0.9), np.array([0, 1])).test_metrics()
    assert set(metrics) == {
        "test_accuracy",
        "test_balanced_accuracy",
        "test_f1",
        "test_roc_auc",
        "test_log_loss",
        "baseline_test_accuracy",
    }


def test_area_under_the_curve_is_left_out_where_one_class_occurs() -> None:
    evaluation = evaluate(probabilities(0.1, 0.9), np.array([0, 0]))
    assert evaluation.roc_auc is None
    assert "test_roc_auc" not in evaluation.test_metrics()
    assert evaluation.balanced_accuracy == 0.5
    assert evaluation.baseline_accuracy == 1.0


def test_three_classes() -> None:
    certain = np.eye(3, dtype=np.float32)[[0, 1, 2, 1]]
    evaluation = evaluate(certain, np.array([0, 1, 2, 2]))
    assert evaluation.accuracy == 0.75
    assert evaluation.roc_auc is not None
    assert evaluation.confusion.shape == (3, 3)


def test_probabilities_of_32_bits_are_taken_without_a_warning() -> None:
    random = np.random.default_rng(0)
    raw = random.random((500, 3)).astype(np.float32)
    evaluate(raw / raw.sum(axis=1, keepdims=True), random.integers(0, 3, 500))
