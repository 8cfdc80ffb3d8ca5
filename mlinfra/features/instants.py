"""Moments compared across units of time without losing any: microseconds against nanoseconds."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Unit = Literal["us", "ns"]
Integers = npt.NDArray[np.int64]

NANOSECONDS_PER_MICROSECOND = 1000
INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True)
class Instants:
    """Moments in UTC as numbers since 1970.

    Attributes:
        values: shape (rows,).
        unit: what the numbers count.
    """

    values: Integers
    unit: Unit

    def latest(self, unit: Unit) -> Integers:
        """The last moment of a unit that is not after each of these, shape (rows,).

        ``moment <= each`` is the same before and after, whatever the units are.
        """
        if unit == self.unit:
            return self.values
        if unit == "us":
            return self.values // NANOSECONDS_PER_MICROSECOND
        return _multiplied(self.values, NANOSECONDS_PER_MICROSECOND)

    def earliest(self, unit: Unit, age: int) -> Integers:
        """The first moment of a unit that is at most ``age`` nanoseconds older than each, shape (rows,)."""
        if unit == "ns":
            return _minus(self.latest("ns"), age)
        if self.unit == "us":
            return _minus(self.values, age // NANOSECONDS_PER_MICROSECOND)
        return -(-_minus(self.values, age) // NANOSECONDS_PER_MICROSECOND)


def _multiplied(values: Integers, factor: int) -> Integers:
    """Products that stay at the ends of what 64 bits hold, where they would go beyond."""
    limit = INT64.max // factor
    product = np.clip(values, -limit, limit) * factor
    return np.where(values > limit, INT64.max, np.where(values < -limit, -INT64.max, product))


def _minus(values: Integers, amount: int) -> Integers:
    lowest = -INT64.max
    if amount > INT64.max:
        return np.full_like(values, lowest)
    return np.where(values < lowest + amount, lowest, values - amount)
