"""Counts rows of numbers in the cells of all features at once.

One feature after another takes some microseconds each, whatever the rows; a server counts few rows at a time.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.references import Reference
from mlinfra.monitoring.stretches import Stretches

BLOCK_ROWS = 256
"""Rows that are compared with all bounds at once: what that takes stays in the processor's cache."""


class RowCounter:
    """Compiled from the references of a model's features, in its order.

    A value's slot is how many of its feature's bounds it is not below; each slot belongs to a cell.

    Args:
        references: of the features.

    Raises:
        ValueError: one is of texts, which are not compared with bounds.
    """

    def __init__(self, references: Sequence[Reference]) -> None:
        bounds = [each.bounds for each in references if each.bounds is not None]
        if len(bounds) < len(references):
            raise ValueError("texts are not compared with bounds")
        most = max((len(each) for each in bounds), default=0)
        self.cells = sum(each.cells for each in references)
        self._slots = most + 2
        exact = np.full((most, len(bounds)), np.inf)
        cells, before = np.zeros((len(bounds), self._slots), np.intp), 0
        for place, (reference, own) in enumerate(zip(references, bounds, strict=True)):
            exact[: len(own), place] = own
            known = reference.cells_between_bounds
            # Bounds at infinity fill up; what is not below them is not below the feature's own last one.
            cells[place] = np.concatenate(
                [known, np.full(self._slots - 1 - len(known), known[-1]), [reference.cells - 1]]
            )
            cells[place] += before
            before += reference.cells
        self._bounds, self._short_bounds = exact, _raised(exact)
        self._cell = cells.ravel()
        self._first_slot = np.arange(len(bounds)) * self._slots
        self._slot_type = np.min_scalar_type(self._slots)

    def count(self, matrix: NDArray[Any], stretches: Stretches) -> NDArray[np.int64]:
        """Rows by cell, those of a feature after those of the one before, of each part, (parts, cells).

        Args:
            matrix: NaN is no value, (rows, features).
            stretches: how the rows are cut.
        """
        short = matrix.dtype == np.float32
        numbers = matrix if short else matrix.astype(np.float64, copy=False)
        bounds = self._short_bounds if short else self._bounds
        slots = np.empty(numbers.shape, self._slot_type)
        for low in range(0, len(numbers), BLOCK_ROWS):
            part = numbers[low : low + BLOCK_ROWS]
            reached = part[:, np.newaxis, :] >= bounds
            own = slots[low : low + BLOCK_ROWS]
            np.add.reduce(reached.view(np.uint8), axis=1, dtype=self._slot_type, out=own)
        missing = np.isnan(numbers)
        if missing.any():
            slots[missing] = self._slots - 1
        return stretches.counted(self._cell.take(slots + self._first_slot), self.cells)


def _raised(exact: NDArray[np.float64]) -> NDArray[np.float32]:
    """The least number of 32 bits that is not below each: of 32 bits, the same values reach it."""
    with np.errstate(over="ignore"):
        near = exact.astype(np.float32)
    return np.where(near < exact, np.nextafter(near, np.float32(np.inf)), near)
