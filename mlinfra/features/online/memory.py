"""Rows in memory, decoded and ready to be copied out, of one generation of a group."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mlinfra.features.online.backend import Key
from mlinfra.features.online.decode import Block
from mlinfra.features.online.packed import Exact

FIRST_ROWS = 64
NO_EXACT: Exact = {}

Number = TypeVar("Number", bound=np.generic)


class Memory:
    """The rows of a block for each key, all of one generation; not safe between threads by itself.

    Args:
        features: columns of a block.
        limit: rows to keep; when they are reached, all are dropped.
    """

    def __init__(self, features: int, limit: int) -> None:
        self.generation: bytes | None = None
        self._limit = limit
        self._slots: dict[Key, int] = {}
        self._exact: list[Exact] = []
        self._has_exact = False
        self._values = np.empty((0, features), np.float64)
        self._status = np.empty((0, features), np.uint8)
        self._events = np.empty(0, np.int64)

    def find(self, keys: Sequence[Key]) -> Block | None:
        """The rows of the keys as copies, or None where one of them is not here."""
        try:
            slots = list(map(self._slots.__getitem__, keys))
        except (KeyError, TypeError):
            return None
        exact = [self._exact[slot] for slot in slots] if self._has_exact else None
        if len(slots) == 1:
            row = slice(slots[0], slots[0] + 1)
            return Block(self._values[row].copy(), self._status[row].copy(), self._events[row].copy(), exact)
        values, status = self._values.take(slots, axis=0), self._status.take(slots, axis=0)
        return Block(values, status, self._events.take(slots), exact)

    def keep(self, generation: bytes, keys: Sequence[Key], block: Block) -> None:
        """Add rows; those of another generation go."""
        if generation != self.generation or len(self._slots) + len(keys) > self._limit:
            self._slots.clear()
            self._exact.clear()
            self._has_exact = False
            self.generation = generation
        new = {key: row for row, key in enumerate(keys) if key not in self._slots}
        if not new or len(new) > self._limit:
            return
        first, rows = len(self._slots), list(new.values())
        last = first + len(rows)
        if last > len(self._events):
            self._grow(last)
        self._values[first:last] = block.values[rows]
        self._status[first:last] = block.status[rows]
        self._events[first:last] = block.events[rows]
        self._exact.extend(block.exact[row] if block.exact else NO_EXACT for row in rows)
        self._has_exact = self._has_exact or block.exact is not None
        self._slots.update(zip(new, range(first, last), strict=True))

    def _grow(self, needed: int) -> None:
        rows = min(max(FIRST_ROWS, needed, 2 * len(self._events)), self._limit)
        self._values = _longer(self._values, rows)
        self._status = _longer(self._status, rows)
        self._events = _longer(self._events, rows)


def _longer(array: npt.NDArray[Number], rows: int) -> npt.NDArray[Number]:
    longer = np.empty((rows, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
