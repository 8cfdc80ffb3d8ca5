"""A read that is prepared once, for loops that make it many thousand times a second."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mlinfra.features.online.backend import Key, Rows
from mlinfra.features.online.decode import Block, RowDecoder
from mlinfra.features.online.group import OnlineGroup
from mlinfra.features.online.memory import Memory
from mlinfra.features.online.result import FloatType, OnlineFeatures
from mlinfra.features.online.status import NEVER, FeatureStatus

MISSING, EXPIRED = int(FeatureStatus.MISSING), int(FeatureStatus.EXPIRED)
FOR_EVER = 2**63 - 1
MEMORY_ROWS = 100_000


class OnlineReader:
    """Reads chosen features of one version of a group; safe to share between threads.

    Rows that were read stay in memory, up to ``memory_rows``. They count only for as long as nothing was
    written to the group: every write, by whichever process, changes the group's generation in the same
    transaction, and every read compares it first. So a read never gives what was overwritten before it
    began, and all of its rows are of one moment.

    Attributes:
        features: the features, in the order of the columns of `OnlineFeatures.values`.
    """

    def __init__(
        self,
        rows: Rows,
        group: OnlineGroup,
        features: Sequence[str],
        *,
        ttl: int | None,
        dtype: FloatType,
        memory_rows: int,
        clock: Callable[[], int],
    ) -> None:
        self._decoder = RowDecoder(group, features, place=rows.place)
        self.features = self._decoder.features
        self._rows = rows
        self._ttl = ttl
        self._dtype = dtype
        self._clock = clock
        self._memory = Memory(len(self.features), memory_rows) if memory_rows else None
        self._lock = threading.Lock()

    def read(self, keys: Key | Sequence[Key]) -> OnlineFeatures:
        """The features of one entity or several, as of now.

        Args:
            keys: a key, or any number of them; one that is asked for twice comes twice.

        Raises:
            InvalidFeatures: a key is not of the group's type.
            CorruptFeatures, FeatureStoreUnavailable: the store cannot be read.
        """
        if type(keys) is not list:
            keys = [keys] if isinstance(keys, (str, int, np.integer)) else list(keys)
        ttl = self._ttl
        cutoff = NEVER if ttl is None else self._clock() - ttl
        block = self._remembered(keys) or self._fetched(keys)
        if ttl is not None and _oldest(block) < cutoff:
            _expire(block, block.events < cutoff)
        return OnlineFeatures(keys, self.features, self._decoder.types, block, self._dtype)

    def _remembered(self, keys: Sequence[Key]) -> Block | None:
        memory = self._memory
        if memory is None or memory.generation is None:
            return None
        with self._lock:
            return memory.find(keys) if memory.generation == self._rows.generation() else None

    def _fetched(self, keys: Sequence[Key]) -> Block:
        """From the store, all of them in one go, so that they are of one moment."""
        generation, rows = self._rows.fetch(keys)
        block = self._decoder.decode(rows)
        if self._memory is not None and generation is not None:
            with self._lock:
                self._memory.keep(generation, keys, block)
        return block


def _oldest(block: Block) -> int:
    events = block.events
    # Of one row, as of most reads, the minimum costs as much as the rest of the read.
    if len(events) == 1:
        return events.item()
    return int(events.min(initial=FOR_EVER))


def _expire(block: Block, old: npt.NDArray[np.bool_]) -> None:
    status = block.status[old]
    status[status != MISSING] = EXPIRED
    block.status[old] = status
    block.values[old] = np.nan
