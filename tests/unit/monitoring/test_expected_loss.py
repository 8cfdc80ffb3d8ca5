"""Direct estimates of a regressor's errors without labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.monitoring.estimation.expected_loss import LossTree, estimated_values, fit_loss_tree


def drawn(seed: int, rows: int, *, rough: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, predictions and errors; these grow where two features are high together."""
    generator = np.random.default_rng(seed)
    features = generator.normal(rough, 1, (rows, 3))
    values = generator.normal(size=rows)
    both = (features[:, 0] > 0) & (features[:, 1] > 0)
    features[generator.random(rows) < 0.05, 2] = np.nan
    return features, values, generator.normal(0, 1 + 3 * both)


@pytest.mark.parametrize("rough", [-1.0, 0.0, 1.0])
def test_errors_are_estimated_where_the_inputs_drift(rough: float) -> None:
    tree = fit_loss_tree(*drawn(1, 8000, rough=0.0))
    features, values, error = drawn(2, 8000, rough=rough)
    estimated = estimated_values(tree, tree.tally(features, values))
    assert estimated["mae"].value == pytest.approx(np.abs(error).mean(), rel=0.12)
    assert estimated["rmse"].value == pytest.approx(np.sqrt(np.square(error).mean()), rel=0.12)


def test_the_estimate_on_the_held_out_part_is_its_mean() -> None:
    features, values, error = drawn(3, 500, rough=0.4)
    tree = fit_loss_tree(features, values, error)
    tally = tree.tally(features, values)
    assert (tally == tree.rows).all()
    assert len(tree.rows) <= 64
    estimated = estimated_values(tree, tally)
    assert estimated["mae"].value == pytest.approx(np.abs(error).mean())
    assert estimated["rmse"].value == pytest.approx(np.sqrt(np.square(error).mean()))


@given(cut=st.integers(0, 100), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_tallies_of_parts_add_up(cut: int, seed: int) -> None:
    features, values, error = drawn(seed, 100, rough=0.2)
    tree = fit_loss_tree(features, values, error)
    parts = tree.tally(features[:cut], values[:cut]) + tree.tally(features[cut:], values[cut:])
    assert (parts == tree.tally(features, values)).all()


def test_standard_errors_are_those_of_repeated_windows() -> None:
    off, told = [], []
    for seed in range(150):
        tree = fit_loss_tree(*drawn(seed, 400, rough=0.0))
        features, values, error = drawn(10_000 + seed, 400, rough=0.0)
        estimated = estimated_values(tree, tree.tally(features, values))["mae"]
        off.append(estimated.value - np.abs(error).mean())
        told.append(estimated.error)
    assert np.mean(told) == pytest.approx(np.std(off), rel=0.25)


def test_one_row_is_no_crash() -> None:
    tree = fit_loss_tree(np.array([[1.0]]), np.array([5.0]), np.array([-2.0]))
    assert estimated_values(tree, tree.tally(np.array([[np.nan]]), np.array([9.0])))["mae"].value == 2
    assert estimated_values(tree, np.array([0])) == {}


def test_a_tree_survives_its_wire_form() -> None:
    features, values, error = drawn(6, 300, rough=0.4)
    tree = fit_loss_tree(features, values, error)
    again = LossTree.of_wire(tree.to_wire())
    assert again.to_wire() == tree.to_wire()
    assert (again.tally(features, values) == tree.tally(features, values)).all()
