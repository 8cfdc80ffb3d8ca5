"""Which values of a column break an expectation: pure functions on Arrow arrays."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from mlinfra.features.errors import FeatureConflict
from mlinfra.features.expectations import Expectations, Number, Value

VALUES_TOLD = 10

Rule = Literal["minimum", "maximum", "allowed_values", "max_null_share"]


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that some values of a column break.

    Attributes:
        rule: the rule's name.
        told: what is wrong with each of them, such as ``above the maximum 100``.
        broken: which values, booleans without nulls, shape (rows,).
    """

    rule: Rule
    told: str
    broken: pa.Array


def breaches(column: pa.ChunkedArray, expectations: Expectations, *, name: str) -> Iterator[Breach]:
    """Each rule that a column breaks.

    Args:
        column: the values, shape (rows,); a null breaks only ``max_null_share``.
        expectations: the rules.
        name: the column, for messages.

    Raises:
        FeatureConflict: a rule does not fit the column's type.
    """
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if expectations.minimum is not None or expectations.maximum is not None:
        yield from _out_of_range(values, expectations, name=name)
    if expectations.allowed_values is not None:
        yield from _not_allowed(values, expectations, name=name)
    share = expectations.max_null_share
    if share is not None and values.null_count > share * len(values):
        yield Breach("max_null_share", f"null, more than the {share:.4g} of all", pc.is_null(values))


def _out_of_range(values: pa.Array, expectations: Expectations, *, name: str) -> Iterator[Breach]:
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise FeatureConflict(
            f"column {name!r} holds {values.type}, which has no minimum and maximum; expect "
            "allowed_values of it, in a new version of the feature's definition"
        )
    extremes = pc.min_max(values)
    least, greatest = extremes["min"].as_py(), extremes["max"].as_py()
    if least is None:
        return
    if expectations.minimum is not None:
        bound = _bound(expectations.minimum, values.type, math.ceil)
        if least < bound:
            broken = _compared(pc.less, values, bound)
            yield Breach("minimum", f"below the minimum {expectations.minimum}", broken)
    if expectations.maximum is not None:
        bound = _bound(expectations.maximum, values.type, math.floor)
        if greatest > bound:
            broken = _compared(pc.greater, values, bound)
            yield Breach("maximum", f"above the maximum {expectations.maximum}", broken)


def _bound(limit: Number, type_: pa.DataType, whole: Callable[[Number], int]) -> Number:
    """The limit in the column's type: 0.1 of a float32 is what a float32 makes of 0.1."""
    if pa.types.is_integer(type_):
        return whole(limit)
    bound: float = pa.scalar(float(limit), pa.float64()).cast(type_, safe=False).as_py()
    return bound


def _compared(
    compare: Callable[[pa.Array, pa.Scalar], pa.Array], values: pa.Array, bound: Number
) -> pa.Array:
    """Which values are beyond the bound, which at least one of them is."""
    try:
        scalar = pa.scalar(bound, values.type)
    except (OverflowError, pa.ArrowInvalid):
        return pc.is_valid(values)  # no value of the type reaches the bound
    return pc.fill_null(compare(values, scalar), False)


def _not_allowed(values: pa.Array, expectations: Expectations, *, name: str) -> Iterator[Breach]:
    allowed = expectations.allowed_values or ()
    try:
        value_set = pa.array([_checked(value, values.type) for value in allowed], values.type)
    except (TypeError, OverflowError, pa.ArrowException) as error:
        raise FeatureConflict(
            f"column {name!r} holds {values.type}, and a value that its definition allows is none: {error}; "
            "register a new version of the definition"
        ) from error
    broken = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set)))
    if pc.any(broken).as_py():
        listed = ", ".join(str(value) for value in allowed[:VALUES_TOLD])
        more = f" and {len(allowed) - VALUES_TOLD} more" if len(allowed) > VALUES_TOLD else ""
        yield Breach("allowed_values", f"not among {listed}{more}", broken)


def _checked(value: Value, type_: pa.DataType) -> Value:
    """The value, if it is of the column's kind: Arrow would take True for a number, and 1 for a text."""
    kinds: tuple[type, ...] = (str,)
    if pa.types.is_boolean(type_):
        kinds = (bool,)
    elif pa.types.is_integer(type_):
        kinds = (int,)
    elif pa.types.is_floating(type_):
        kinds = (int, float)
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds != (bool,)):
        raise TypeError(f"{value!r} is no {type_}")
    return value
