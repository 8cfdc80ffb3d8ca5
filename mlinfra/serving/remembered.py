"""The newest predictions of a model, by ID: at most so many, in little memory. Of one thread.

They are kept in blocks that are only ever added to and are given up whole: a table from which single entries
are taken keeps their places, and grows to a multiple of what is in it.
"""

import sys
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MICROSECONDS = 1000
BLOCKS = 16
"""As many as hold what is remembered; one more is being filled."""
EntityKey = tuple[str, int]
"""An entity, and microseconds since 1970 in UTC."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A prediction.

    Attributes:
        event_time: nanoseconds since 1970 in UTC.
        version: of the model.
        outputs: what it answered, 32-bit numbers.
        entity: whose features were read; None where the client gave them.
        label: what turned out to be true; None while that is not known.
    """

    event_time: int
    version: str
    outputs: NDArray[np.float32]
    entity: str | None = None
    label: Any = None


@dataclass(slots=True)
class _Block:
    """Predictions that follow one another; a list's place is the prediction's row.

    Attributes:
        first: how many predictions were remembered before it.
        output_ends: where each one's numbers end in ``outputs``.
        ids_of: IDs of the predictions of an entity at a time.
    """

    first: int
    rows: dict[str, int] = field(default_factory=dict)
    event_times: "array[int]" = field(default_factory=lambda: array("q"))
    versions: list[str] = field(default_factory=list)
    outputs: "array[float]" = field(default_factory=lambda: array("f"))
    output_ends: "array[int]" = field(default_factory=lambda: array("q", [0]))
    entities: list[str | None] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    ids_of: dict[EntityKey, list[str]] = field(default_factory=dict)

    def prediction(self, row: int) -> Remembered:
        outputs = self.outputs[self.output_ends[row] : self.output_ends[row + 1]]
        return Remembered(
            self.event_times[row],
            self.versions[row],
            np.array(outputs, np.float32),
            self.entities[row],
            self.labels[row],
        )


class RememberedPredictions:
    """Predictions by ID; of more than so many the oldest are forgotten.

    Args:
        most: how many are remembered.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._block_rows = max(most // BLOCKS, 1)
        self._blocks: deque[_Block] = deque()
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self._most)

    def __contains__(self, one: str) -> bool:
        return self._find(one) is not None

    @property
    def held(self) -> int:
        """How many predictions have a place in memory: up to a block more than are remembered."""
        return self._added - self._blocks[0].first if self._blocks else 0

    @property
    def period(self) -> tuple[int, int] | None:
        """Event times between which all of them are; None without any."""
        times = [each.event_times for each in self._blocks]
        return (min(map(min, times)), max(map(max, times))) if times else None

    def get(self, one: str) -> Remembered | None:
        """The prediction of an ID; None where it is not remembered."""
        found = self._find(one)
        return found[0].prediction(found[1]) if found is not None else None

    def add(self, one: str, prediction: Remembered) -> bool:
        """Remember a prediction; False, and nothing, where one of its ID is remembered."""
        if one in self:
            return False
        if not self._blocks or len(self._blocks[-1].labels) == self._block_rows:
            self._blocks.append(_Block(self._added))
        block = self._blocks[-1]
        # First what may be refused: half a prediction would have the next one's label.
        block.event_times.append(prediction.event_time)
        block.rows[one] = len(block.labels)
        # One text for all of a version, wherever it was read.
        block.versions.append(sys.intern(prediction.version))
        block.outputs.frombytes(prediction.outputs.astype(np.float32, copy=False).tobytes())
        block.output_ends.append(len(block.outputs))
        block.entities.append(prediction.entity)
        block.labels.append(prediction.label)
        if prediction.entity is not None:
            block.ids_of.setdefault(entity_key(prediction.entity, prediction.event_time), []).append(one)
        self._added += 1
        while self._blocks[0].first + len(self._blocks[0].labels) <= self._added - self._most:
            self._blocks.popleft()
        return True

    def label(self, one: str, label: Any) -> None:
        """Know the label of a prediction; nothing where it is not remembered."""
        if (found := self._find(one)) is not None:
            block, row = found
            block.labels[row] = label

    def of_entity(self, key: EntityKey) -> Sequence[str]:
        """IDs of the predictions of an entity at a time, in the order in which they were remembered."""
        first = self._added - self._most
        return [
            one
            for block in self._blocks
            for one in block.ids_of.get(key, ())
            if block.first + block.rows[one] >= first
        ]

    def _find(self, one: str) -> tuple[_Block, int] | None:
        """Where it is, looked for in the newest block first."""
        for block in reversed(self._blocks):
            row = block.rows.get(one)
            if row is not None:
                return (block, row) if block.first + row >= self._added - self._most else None
        return None


def entity_key(entity: str, event_time: int) -> EntityKey:
    """The key of an entity's predictions at a time, in nanoseconds since 1970 in UTC."""
    return entity, event_time // MICROSECONDS
