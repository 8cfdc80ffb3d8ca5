"""Sums of labelled answers against the measures that training computes from the rows themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlinfra.monitoring.value_performance import value_performance
from mlinfra.monitoring.value_tally import ValueScale, ValueTally, tally_values
from mlinfra.training.measures import value_measures

VALUES = st.integers(-1_000_000, 1_000_000).map(lambda number: number / 10_000)


@given(
    values=arrays.arrays(np.float64, 40, elements=VALUES),
    label=arrays.arrays(np.float64, 40, elements=VALUES),
    unit=st.sampled_from([1e-9, 1.0, 1e7]),
    offset=st.sampled_from([0.0, 1.0, -3000.0]),
)
def test_measures_are_those_of_training(
    values: np.ndarray, label: np.ndarray, unit: float, offset: float
) -> None:
    values, label = (values + offset) * unit, (label + offset) * unit
    scale = ValueScale.of(label)
    ours = value_performance(tally_values(values, label, scale), scale)
    theirs = value_measures(values, label)
    for name in ("mae", "rmse", "bias"):
        assert ours[name].value == pytest.approx(theirs[name], rel=1e-7, abs=1e-6 * scale.unit), name
    if np.std(label) > 1e-3 * unit:
        assert ours["r2"].value == pytest.approx(theirs["r2"], rel=1e-6, abs=1e-6)


@given(
    parts=st.lists(arrays.arrays(np.float64, (3, 2), elements=st.floats(-1e9, 1e9)), min_size=3, max_size=3)
)
def test_tallies_add_up_in_any_order(parts: list[np.ndarray]) -> None:
    scale = ValueScale(centre=1.0, unit=4.0)
    a, b, c = (tally_values(part[:, 0], part[:, 1], scale) for part in parts)
    assert (a + b) + c == a + (b + c) == c + b + a
    assert ValueTally.of_wire((a + b).to_wire()) == a + b


def test_standard_errors_are_those_of_repeated_windows() -> None:
    windows = []
    for seed in range(400):
        generator = np.random.default_rng(seed)
        label = generator.normal(5, 2, 300)
        values = label + generator.normal(0.3, 1, 300)
        scale = ValueScale(centre=5.0, unit=2.0)
        windows.append(value_performance(tally_values(values, label, scale), scale))
    for name in ("mae", "rmse", "bias"):
        spread = np.std([window[name].value for window in windows])
        assert np.mean([window[name].error for window in windows]) == pytest.approx(spread, rel=0.15), name


def test_one_extreme_value_leaves_the_sums_finite() -> None:
    scale = ValueScale(centre=0.0, unit=1.0)
    tally = tally_values(np.array([1e300, 1.0]), np.array([0.0, 0.0]), scale)
    assert np.isfinite(value_performance(tally, scale)["rmse"].value)


def test_a_constant_label_has_no_explained_variance() -> None:
    label = np.full(10, 3.7)
    scale = ValueScale.of(label)
    assert scale.unit == 1.0
    assert "r2" not in value_performance(tally_values(label + 1, label, scale), scale)


def test_no_answers_have_no_measures() -> None:
    assert value_performance(ValueTally(), ValueScale(0.0, 1.0)) == {}
