"""Rows in memory, decoded and ready to be copied out, of one generation of a group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mlinfra.features.online.backend import Key
from mlinfra.features.online.packed import Exact, FloatMatrix, Int64s

FIRST_ROWS = 64

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Block:
    """Decoded rows.

    Attributes:
        values: shape (rows, features), NaN where there is no number.
        status: as of the rows alone, whatever their age; shape (rows, features).
        events: event times in nanoseconds since 1970, shape (rows,).
        exact: for each row the values by feature that a float cannot hold; None where no feature has such.
    """

    values: FloatMatrix
    status: npt.NDArray[np.uint8]
    events: Int64s
    exact: list[Exact] | None


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
        self._values = np.empty((0, features), np.float64)
        self._status = np.empty((0, features), np.uint8)
        self._events = np.empty(0, np.int64)

    def find(self, keys: Sequence[Key]) -> Block | None:
        """The rows of the keys as copies, or None where one of them is not here."""
        try:
            slots = list(map(self._slots.__getitem__, keys))
        except KeyError:
            return None
        exact = [self._exact[slot] for slot in slots] if self._exact else None
        if len(slots) == 1:
            row = slice(slots[0], slots[0] + 1)
            return Block(self._values[row].copy(), self._status[row].copy(), self._events[row].copy(), exact)
        return Block(
            self._values.take(slots, axis=0),
            self._status.take(slots, axis=0),
            self._events.take(slots),
            exact,
        )

    def keep(self, generation: bytes, keys: Sequence[Key], block: Block) -> None:
        """Add rows; those of another generation go."""
        if generation != self.generation or len(self._slots) + len(keys) > self._limit:
            self._slots.clear()
            self._exact.clear()
            self.generation = generation
        if len(keys) > self._limit:
            return
        for row, key in enumerate(keys):
            if key not in self._slots:
                self._slots[key] = self._added(block, row)

    def _added(self, block: Block, row: int) -> int:
        slot = len(self._slots)
        if slot == len(self._events):
            self._grow()
        self._values[slot], self._status[slot] = block.values[row], block.status[row]
        self._events[slot] = block.events[row]
        if block.exact is not None:
            self._exact.append(block.exact[row])
        return slot

    def _grow(self) -> None:
        rows = min(max(FIRST_ROWS, 2 * len(self._events)), self._limit)
        self._values = _longer(self._values, rows)
        self._status = _longer(self._status, rows)
        self._events = _longer(self._events, rows)


def _longer(array: npt.NDArray[Number], rows: int) -> npt.NDArray[Number]:
    longer = np.empty((rows, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
