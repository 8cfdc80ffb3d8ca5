"""Test metrics under the keys that gates read, beside answers that need no learning."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.training.baselines import last_known
from mlinfra.training.errors import TrainingDivergedError
from mlinfra.training.evaluation import Evaluation, evaluate
from mlinfra.training.objective import Classification, Objective, Regression
from mlinfra.training.rows import LabelledRows
from mlinfra.training.samples import Part

START = np.datetime64("2020-01-01", "ns")


def evaluated(
    objective: Objective, predictions: np.ndarray, label: list[float], *, first: int = 0, embargo: int = 0
) -> Evaluation:
    """Predictions for the rows from ``first`` on, of one entity."""
    count = len(label)
    rows = LabelledRows(
        features=np.zeros((count, 1), dtype=np.float32),
        label=np.array(label),
        time=START + np.arange(count) * np.timedelta64(1, "D"),
        entity=np.zeros(count, dtype=np.int64),
        feature_names=("a",),
        classes=(0, 1),
    )
    part = Part(last_rows=np.arange(first, count), first_time=START, last_time=START)
    return evaluate(predictions.astype(np.float32), objective, rows, part, embargo=embargo)


def of_second(*probabilities: float) -> np.ndarray:
    second = np.array(probabilities)
    return np.stack([1 - second, second], axis=1)


def test_keys_of_classes_are_those_that_gates_read() -> None:
    evaluation = evaluated(Classification(2), of_second(0.1, 0.2, 0.7, 0.9), [0, 0, 0, 1])
    metrics = evaluation.test_metrics()
    assert set(metrics) == {
        *(f"test_{name}" for name in ("accuracy", "balanced_accuracy", "f1", "precision", "recall")),
        *(f"test_{name}" for name in ("roc_auc", "log_loss", "brier", "ece")),
        *(f"baseline_test_{name}" for name in ("accuracy", "balanced_accuracy", "f1")),
        *(f"last_value_test_{name}" for name in ("accuracy", "balanced_accuracy", "f1")),
    }
    assert metrics["test_accuracy"] == metrics["baseline_test_accuracy"] == 0.75
    assert not evaluation.beats_baseline


def test_keys_of_values_are_those_that_gates_read() -> None:
    objective = Regression(mean=2.0, scale=1.0)
    evaluation = evaluated(objective, np.array([[4.0], [5.5]]), [1.0, 2.0, 3.0, 4.0, 5.0], first=3, embargo=2)
    metrics = evaluation.test_metrics()
    assert set(metrics) == {
        *(f"test_{name}" for name in ("mae", "rmse", "bias", "r2", "mape")),
        *(f"baseline_test_{name}" for name in ("mae", "rmse", "r2")),
        *(f"mean_test_{name}" for name in ("mae", "rmse", "r2")),
    }
    assert metrics["test_mae"] == 0.25
    # Each label looks two rows ahead, so the newest known one is two rows old.
    assert metrics["baseline_test_mae"] == 2.0
    assert metrics["mean_test_mae"] == 2.5
    assert evaluation.beats_baseline


def test_baseline_of_classes_is_the_best_constant_answer() -> None:
    evaluation = evaluated(Classification(2), of_second(0.9, 0.9, 0.9, 0.9), [1, 1, 0, 1], first=0)
    assert evaluation.baselines["baseline"]["accuracy"] == 0.75
    assert evaluation.baselines["baseline"]["balanced_accuracy"] == 0.5


def test_the_last_value_falls_back_where_none_is_known() -> None:
    evaluation = evaluated(Classification(2), of_second(0.9, 0.9, 0.9, 0.1), [1, 1, 1, 0])
    # 1 (no label known: the majority), 1, 1, 1 against 1, 1, 1, 0
    assert evaluation.baselines["last_value"]["accuracy"] == 0.75


def test_one_class_in_the_test_part_leaves_out_what_is_not_defined() -> None:
    evaluation = evaluated(Classification(2), of_second(0.1, 0.9), [0, 0])
    assert "test_roc_auc" not in evaluation.test_metrics()
    assert evaluation.measures["balanced_accuracy"] == 0.5
    assert evaluation.baseline_score == 1.0


def test_an_answer_that_is_no_number_is_told() -> None:
    with pytest.raises(TrainingDivergedError, match="answers 1 of 2 test samples with no number"):
        evaluated(Regression(0.0, 1.0), np.array([[np.nan], [1.0]]), [0.0, 1.0])


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 5), st.data())
def test_last_known_label_is_that_of_the_newest_row_whose_look_ahead_is_over(
    lengths: list[int], embargo: int, data: st.DataObject
) -> None:
    entity = np.repeat(np.arange(len(lengths)), lengths)
    label = np.arange(len(entity)) * 10
    chosen = data.draw(st.sets(st.integers(0, len(entity) - 1), min_size=1))
    rows = np.array(sorted(chosen))
    found, known = last_known(label, entity, rows, embargo=embargo)
    for position, row in enumerate(rows):
        candidates = [
            other for other in range(row) if entity[other] == entity[row] and other + embargo <= row
        ]
        assert known[position] == bool(candidates)
        if candidates:
            assert found[position] == label[candidates[-1]]
