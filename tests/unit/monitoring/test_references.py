"""Counting rows in the cells of a reference."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlinfra.monitoring.references import (
    BINS,
    CategoricalReference,
    NumericReference,
    reference_of,
    reference_of_wire,
)

VALUES = arrays(
    np.float64,
    st.integers(1, 200),
    elements=st.floats(-1e6, 1e6) | st.just(np.nan) | st.just(np.inf) | st.just(-np.inf),
)
NORMAL = np.random.default_rng(1).normal(size=10_000)


def test_a_numeric_column_has_bins_of_equal_share() -> None:
    reference = reference_of("x", NORMAL)
    assert isinstance(reference, NumericReference)
    assert reference.counts[1:-2] == pytest.approx(len(NORMAL) / BINS, abs=1)
    assert reference.counts[[0, -2, -1]].tolist() == [0, 0, 0]


def test_missing_values_and_those_beyond_the_range_have_cells_of_their_own() -> None:
    reference = reference_of("x", NORMAL)
    counts = reference.count(np.array([np.nan, np.inf, -np.inf, 1e9, -1e9, NORMAL.max(), NORMAL.min()]))
    assert counts[[0, -2, -1]].tolist() == [2, 2, 1]
    assert counts.sum() == 7
    assert reference.unusual(counts) == 4


@given(VALUES, st.integers(0, 200))
def test_counts_of_parts_add_up_to_the_count_of_the_whole(values: np.ndarray, cut: int) -> None:
    reference = reference_of("x", NORMAL)
    whole = reference.count(values)
    assert (whole == reference.count(values[:cut]) + reference.count(values[cut:])).all()
    assert whole.sum() == len(values)
    assert reference.distribution(whole).sum() == len(values)


@given(VALUES)
def test_thirty_two_bits_count_as_their_values_do(values: np.ndarray) -> None:
    reference = reference_of("x", NORMAL.astype(np.float32))
    small = values.astype(np.float32)
    assert (reference.count(small) == reference.count(small.astype(np.float64))).all()


def test_few_numbers_are_categories() -> None:
    reference = reference_of("rooms", np.array([1, 2, 2, 3, 3, 3], dtype=np.int64))
    assert isinstance(reference, CategoricalReference)
    assert reference.categories == (1, 2, 3)
    assert reference.count(np.array([1.0, 3.0, 9.0, 2.5, np.nan])).tolist() == [1, 0, 1, 2, 1]


def test_texts_are_categories_and_rare_ones_share_a_cell() -> None:
    reference = reference_of("city", pa.array([f"c{number % 80:02}" for number in range(4000)]))
    assert isinstance(reference, CategoricalReference)
    assert len(reference.categories) == 64
    assert reference.counts[-2] == 16 * 50
    assert reference.count(pa.array(["c00", "nowhere", None]))[[0, -2, -1]].tolist() == [1, 1, 1]


def test_booleans_are_categories() -> None:
    reference = reference_of("open", np.array([True, True, False]))
    assert reference.counts.tolist() == [1, 2, 0, 0]


def test_a_constant_and_an_empty_column_can_be_counted() -> None:
    for values in (np.full(50, 3.5), np.full(50, np.nan), np.zeros(0)):
        reference = reference_of("x", values)
        assert reference.count(np.array([3.5, np.nan, 7.0])).sum() == 3


@pytest.mark.parametrize("values", [NORMAL, np.array([1, 2, 3]), pa.array(["a", None, "b"])])
def test_a_reference_is_the_same_after_json(values: object) -> None:
    reference = reference_of("x", values)
    read = reference_of_wire(reference.to_wire())
    assert read.to_wire() == reference.to_wire()


def test_a_damaged_reference_is_refused() -> None:
    wire = reference_of("x", NORMAL).to_wire()
    for damaged in (
        wire | {"counts": [1, 2]},
        wire | {"kind": "mystery"},
        wire | {"edges": [2.0, 1.0], "counts": [0] * 6},
        wire | {"counts": [-1, *wire["counts"][1:]]},
    ):
        with pytest.raises(ValueError, match=r"."):
            reference_of_wire(damaged)
