"""Rows that come together, cut into consecutive parts that are counted apart. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Stretches:
    """Parts of a batch, one after another.

    Attributes:
        sizes: rows of each part.
        part: which one each row belongs to, never falling, (rows,).
    """

    sizes: tuple[int, ...]
    part: NDArray[np.intp]

    @classmethod
    def of_sizes(cls, sizes: Sequence[int]) -> "Stretches":
        """Parts of so many rows each."""
        return cls(tuple(sizes), np.repeat(np.arange(len(sizes)), sizes))

    @classmethod
    def whole(cls, rows: int) -> "Stretches":
        """All rows as one part."""
        return cls((rows,), np.zeros(rows, np.intp))

    @property
    def number(self) -> int:
        """How many parts there are."""
        return len(self.sizes)

    def counted(self, places: NDArray[np.integer[Any]], cells: int) -> NDArray[np.int64]:
        """Rows by cell of each part, (number, cells).

        Args:
            places: cell of each row, (rows,); or of each value of a row, (rows, values).
            cells: how many cells there are.
        """
        at = places + (self.part * cells).reshape(-1, *(1,) * (places.ndim - 1))
        return np.bincount(at.ravel(), minlength=self.number * cells).reshape(self.number, cells)

    def weighed(
        self, places: NDArray[np.integer[Any]], weights: NDArray[np.float64], cells: int
    ) -> NDArray[np.float64]:
        """Sum of the rows' weights, (rows,), by cell of each part, (number, cells)."""
        at = places + self.part * cells
        found = np.bincount(at, weights=weights, minlength=self.number * cells)
        return found.astype(np.float64, copy=False).reshape(self.number, cells)

    def summed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over the rows of each part of values, (rows,); (number,)."""
        found = np.bincount(self.part, weights=values, minlength=self.number)
        return found.astype(np.float64, copy=False)
