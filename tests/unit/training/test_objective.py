"""Losses are means over samples, whatever batch they come in; classes can weigh the same; units come back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.models.normalized import NormalizedNetwork
from mlinfra.training.errors import ConstantLabelError, SingleClassLabelError
from mlinfra.training.objective import Classification, Objective, Regression, classification, regression

PERIOD = "2020-01-01/2020-01-08"
LABEL = np.array([0, 0, 0, 1, 2, 2, 0, 1])


def batch(objective: Objective, label: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    outputs = torch.randn(len(label), objective.outputs, generator=torch.Generator().manual_seed(1))
    return outputs, torch.from_numpy(objective.targets(label))


OBJECTIVES = {
    "plain": classification(LABEL, (0, 1, 2), balanced=False, period=PERIOD),
    "balanced": classification(LABEL, (0, 1, 2), balanced=True, period=PERIOD),
    "value": regression(LABEL.astype(float), period=PERIOD),
}


@given(st.sampled_from(sorted(OBJECTIVES)), st.integers(1, len(LABEL) - 1))
def test_loss_of_all_is_the_mean_over_batches_by_their_size(name: str, cut: int) -> None:
    objective = OBJECTIVES[name]
    outputs, targets = batch(objective, LABEL)
    parts = [
        objective.loss(outputs[part], targets[part]) * len(targets[part])
        for part in (slice(None, cut), slice(cut, None))
    ]
    whole = objective.loss(outputs, targets)
    assert torch.allclose(whole, sum(parts, torch.zeros(())) / len(targets), atol=1e-6)


def test_plain_loss_is_the_cross_entropy() -> None:
    outputs, targets = batch(OBJECTIVES["plain"], LABEL)
    expected = torch.nn.functional.cross_entropy(outputs, targets)
    assert torch.allclose(OBJECTIVES["plain"].loss(outputs, targets), expected)


def test_balanced_loss_is_the_mean_over_the_classes_of_their_cross_entropy() -> None:
    outputs, targets = batch(OBJECTIVES["balanced"], LABEL)
    each = torch.nn.functional.cross_entropy(outputs, targets, reduction="none")
    expected = torch.stack([each[targets == number].mean() for number in range(3)]).mean()
    assert torch.allclose(OBJECTIVES["balanced"].loss(outputs, targets), expected)


def test_a_class_without_training_samples_keeps_a_weight() -> None:
    objective = classification(np.array([0, 1, 1]), (0, 1, 2), balanced=True, period=PERIOD)
    outputs, targets = batch(objective, np.array([2]))
    expected = torch.nn.functional.cross_entropy(outputs, targets)
    assert torch.allclose(objective.loss(outputs, targets), expected)


def test_accuracy_is_the_share_that_is_right() -> None:
    outputs = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0], [0.0, 9.0]])
    measured = Classification(2).validation_metrics(outputs, torch.tensor([0, 1, 1, 1]))
    assert measured == {"val_accuracy": 0.75}


def test_always_answering_the_mean_loses_1() -> None:
    objective = regression(np.array([1e9, 1e9 + 2.0, 1e9 + 4.0]), period=PERIOD)
    targets = torch.from_numpy(objective.targets(np.array([1e9, 1e9 + 2.0, 1e9 + 4.0])))
    assert objective.loss(torch.zeros(3, 1), targets).item() == pytest.approx(1.0)


def test_errors_of_a_value_are_in_its_unit() -> None:
    objective = Regression(mean=100.0, scale=10.0)
    targets = torch.from_numpy(objective.targets(np.array([100.0, 110.0])))
    measured = objective.validation_metrics(torch.tensor([[0.3], [1.4]]), targets)
    assert measured == {
        "val_mae": pytest.approx(3.5, rel=1e-6),
        "val_rmse": pytest.approx(np.sqrt((9 + 16) / 2), rel=1e-6),
    }


@pytest.mark.parametrize("objective", [Classification(2), Regression(5.0, 2.0)])
def test_primary_metric_comes_first_in_the_validation_metrics(objective: Objective) -> None:
    outputs, targets = batch(objective, np.array([0, 1, 1]))
    assert next(iter(objective.validation_metrics(outputs, targets))) == f"val_{objective.primary.name}"


def test_served_value_is_in_the_unit_of_the_label() -> None:
    objective = Regression(mean=100.0, scale=10.0)
    network = NormalizedNetwork(torch.nn.Identity(), mean=torch.zeros(1), scale=torch.ones(1))
    assert objective.served(network)(torch.tensor([[0.5], [-1.0]])).tolist() == [[105.0], [90.0]]


def test_one_class_leaves_nothing_to_tell_apart() -> None:
    with pytest.raises(SingleClassLabelError, match=r"2020-01-01/2020-01-08\) has the label 'up'"):
        classification(np.array([1, 1]), ("down", "up"), balanced=False, period=PERIOD)


@pytest.mark.parametrize("value", [0.0, 7.1, -1e12])
def test_a_constant_value_leaves_nothing_to_learn(value: float) -> None:
    with pytest.raises(ConstantLabelError, match="there is nothing to learn"):
        regression(np.full(7, value), period=PERIOD)
