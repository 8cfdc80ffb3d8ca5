"""Sum and sum of squares of values, in whole quanta: however parts are added up, the sum is the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.stretches import Stretches

QUANTA = 2**40
"""Quanta in one unit: a batch's sum is rounded to about 1e-12 of the unit, and then added exactly."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Additive sums of one quantity over rows; the number of rows is kept beside it.

    Attributes:
        total: sum of the values, in quanta.
        squares: sum of their squares, in quanta.
    """

    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Moments":
        """Those of finite values, (rows,), whose squares are finite too."""
        return cls(_quanta(float(values.sum())), _quanta(float(np.square(values).sum())))

    @classmethod
    def expected(
        cls, values: NDArray[np.float64], shares: NDArray[np.float64], stretches: Stretches
    ) -> list["Moments"]:
        """Those of each part of rows of which each may have several values: (rows, values), with shares of
        the same shape.
        """
        totals = stretches.summed((shares * values).sum(axis=1))
        squares = stretches.summed((shares * np.square(values)).sum(axis=1))
        pairs = zip(totals.tolist(), squares.tolist(), strict=True)
        return [cls(_quanta(total), _quanta(square)) for total, square in pairs]

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.total + other.total, self.squares + other.squares)

    def mean(self, rows: float) -> float:
        """Mean over as many rows."""
        return self.total / QUANTA / rows

    def mean_square(self, rows: float) -> float:
        """Mean of the squares over as many rows."""
        return self.squares / QUANTA / rows

    def variance(self, rows: float) -> float:
        """Variance over as many rows."""
        return max(self.mean_square(rows) - self.mean(rows) ** 2, 0.0)

    def to_wire(self) -> list[int]:
        """As JSON: both sums."""
        return [self.total, self.squares]

    @classmethod
    def of_wire(cls, wire: Sequence[Any]) -> "Moments":
        """What `to_wire` gave."""
        total, squares = wire
        return cls(int(total), int(squares))


NOTHING = Moments()
"""The sums of no rows."""


def _quanta(value: float) -> int:
    # No digit is lost: the quanta are a power of two, and whole numbers of any size are exact.
    return round(value * QUANTA)
