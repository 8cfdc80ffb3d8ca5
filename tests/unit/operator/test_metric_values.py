"""Metric values as a status shows them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra_operator.metrics import MAX_METRICS, decimal, metric_list


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (0.9, "0.9"),
        (0.8633093525179856, "0.863309"),
        (-0.12345678, "-0.123457"),
        (0.9999999, "1"),
        (9.9999999, "10"),
        (0.000012345678, "0.0000123457"),
        (0.000001, "0.000001"),
        (12345.678, "12345.7"),
        (999999.7, "1000000"),
        (1234567.8, "1234568"),
        (123456789012345.0, "123456789012345"),
        (1.5e-9, "1.5e-09"),
        (2.5e20, "2.5e+20"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_values_have_six_significant_digits_and_no_exponent_in_ordinary_magnitudes(
    value: float, text: str
) -> None:
    assert decimal(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_shown_value_reads_back_within_the_digits_that_it_has(value: float) -> None:
    text = decimal(value)
    assert float(text) == pytest.approx(value, rel=5.1e-6)
    assert len(text) <= 64
    assert not text.endswith(".")


@given(st.floats(min_value=1e-6, max_value=9e14))
def test_no_exponent_is_written_in_ordinary_magnitudes(value: float) -> None:
    assert "e" not in decimal(value)


def test_metrics_are_sorted_by_name_and_cut_to_what_a_status_holds() -> None:
    metrics = {f"m{number:03}": 1.0 for number in reversed(range(300))} | {"x" * 251: 1.0}
    listed = metric_list(metrics)
    assert [metric.name for metric in listed] == [f"m{number:03}" for number in range(MAX_METRICS)]
