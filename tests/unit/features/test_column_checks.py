"""Which values break an expectation, against a plain loop over the values."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mlinfra.features import Expectations, FeatureConflict
from mlinfra.features.column_checks import breaches

INTEGER_TYPES = (pa.int8(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64())
LIMITS = st.one_of(st.integers(-(2**66), 2**66), st.floats(-1e30, 1e30), st.integers(-130, 130))


def broken_by(column: pa.Array, expectations: Expectations) -> dict[str, list[bool]]:
    found = list(breaches(column, expectations, name="x"))
    return {each.rule: each.broken.to_pylist() for each in found}


def expected_of(values: list[Any], expectations: Expectations, in_type: Any) -> dict[str, list[bool]]:
    """What a loop finds; ``in_type`` makes of a limit what the column's type makes of it."""
    minimum, maximum = expectations.minimum, expectations.maximum
    allowed = expectations.allowed_values
    broken = {
        "minimum": [v is not None and minimum is not None and v < in_type(minimum) for v in values],
        "maximum": [v is not None and maximum is not None and v > in_type(maximum) for v in values],
        "allowed_values": [
            v is not None and allowed is not None and v not in [in_type(a) for a in allowed] for v in values
        ],
    }
    share = expectations.max_null_share
    nulls = [v is None for v in values]
    too_many = share is not None and sum(nulls) > share * len(values)
    broken["max_null_share"] = nulls if too_many else []
    return {rule: rows for rule, rows in broken.items() if any(rows)}


@st.composite
def integer_columns(draw: st.DrawFn) -> pa.Array:
    type_ = draw(st.sampled_from(INTEGER_TYPES))
    info = np.iinfo(type_.to_pandas_dtype())
    values = st.integers(int(info.min), int(info.max)) | st.integers(max(int(info.min), -130), 127)
    return pa.array(draw(st.lists(st.none() | values, min_size=1, max_size=8)), type_)


@given(column=integer_columns(), limits=st.tuples(LIMITS, LIMITS), share=st.floats(0, 1))
@settings(max_examples=300)
def test_integers_are_compared_exactly(column: pa.Array, limits: tuple[Any, Any], share: float) -> None:
    expectations = Expectations(minimum=min(limits), maximum=max(limits), max_null_share=share)
    assert broken_by(column, expectations) == expected_of(column.to_pylist(), expectations, lambda x: x)


FLOATS = st.floats(-1e30, 1e30) | st.sampled_from([0.0, -0.0, 0.1, 100.0])


@given(
    values=st.lists(st.none() | FLOATS, min_size=1, max_size=8),
    limits=st.tuples(FLOATS, FLOATS),
    narrow=st.booleans(),
)
@settings(max_examples=300)
def test_floats_are_compared_in_their_own_width(
    values: list[float | None], limits: tuple[float, float], narrow: bool
) -> None:
    column = pa.array(values, pa.float32() if narrow else pa.float64())
    expectations = Expectations(minimum=min(limits), maximum=max(limits))
    in_type = (lambda x: float(np.float32(x))) if narrow else float
    assert broken_by(column, expectations) == expected_of(column.to_pylist(), expectations, in_type)


TEXTS = st.sampled_from(["buy", "sell", "hold", ""])


@given(
    values=st.lists(st.none() | TEXTS, min_size=1, max_size=8),
    allowed=st.lists(TEXTS, min_size=1, max_size=3),
    share=st.floats(0, 1),
)
@settings(max_examples=200)
def test_texts_are_among_the_allowed_ones(values: list[str | None], allowed: list[str], share: float) -> None:
    expectations = Expectations(allowed_values=tuple(allowed), max_null_share=share)
    column = pa.array(values, pa.string())
    assert broken_by(column, expectations) == expected_of(values, expectations, lambda x: x)


@pytest.mark.parametrize(
    ("column", "allowed"),
    [
        (pa.array([True, False, None]), (True,)),
        (pa.array([1, 0, None], pa.int8()), (1,)),
        (pa.array([1.0, 0.0, None]), (1,)),
        (pa.array([0.1, 0.0, None], pa.float32()), (0.1,)),
    ],
)
def test_allowed_values_of_every_kind(column: pa.Array, allowed: tuple[Any, ...]) -> None:
    assert broken_by(column, Expectations(allowed_values=allowed)) == {"allowed_values": [False, True, False]}


@pytest.mark.parametrize(
    ("column", "allowed"),
    [
        (pa.array([1]), ("1",)),
        (pa.array([1]), (True,)),
        (pa.array([1]), (1.5,)),
        (pa.array([1], pa.int8()), (300,)),
        (pa.array(["1"]), (1,)),
        (pa.array([True]), (1,)),
        (pa.array([0], pa.timestamp("us")), (1,)),
    ],
)
def test_allowed_values_of_another_kind_are_refused(column: pa.Array, allowed: tuple[Any, ...]) -> None:
    with pytest.raises(FeatureConflict, match=r"column 'x' holds .* and a value that its definition allows"):
        broken_by(column, Expectations(allowed_values=allowed))


@pytest.mark.parametrize("column", [pa.array(["a"]), pa.array([True]), pa.array([0], pa.timestamp("us"))])
def test_only_numbers_have_a_range(column: pa.Array) -> None:
    with pytest.raises(FeatureConflict, match="has no minimum and maximum"):
        broken_by(column, Expectations(minimum=0))


def test_a_column_of_nulls_breaks_nothing_but_their_share() -> None:
    nulls = pa.array([None, None], pa.float64())
    assert broken_by(nulls, Expectations(minimum=0, maximum=1, allowed_values=(0.5,))) == {}
    assert broken_by(nulls, Expectations(max_null_share=0.99)) == {"max_null_share": [True, True]}
    assert broken_by(nulls, Expectations(max_null_share=1)) == {}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "give at least one of"),
        ({"minimum": 2, "maximum": 1}, "the minimum 2 is above the maximum 1"),
        ({"minimum": math.nan}, "finite"),
        ({"allowed_values": []}, "at least 1 item"),
        ({"allowed_values": [math.inf]}, "finite"),
        ({"max_null_share": 1.5}, "less than or equal to 1"),
        ({"minimum": 0, "on_violation": "ignore"}, "'reject', 'quarantine' or 'warn'"),
        ({"minimum": 0, "unique": True}, "unique"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Expectations.model_validate(rules)
