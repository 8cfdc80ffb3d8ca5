"""A read that is prepared once, for loops that make it many thousand times a second."""

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mlinfra.features.errors import CorruptFeatures
from mlinfra.features.online.backend import Key, Rows
from mlinfra.features.online.group import OnlineGroup, is_number, may_be_exact
from mlinfra.features.online.memory import Block, Memory
from mlinfra.features.online.packed import FLOAT_BYTES, HEADER, Exact, is_whole, pack, row_type, unpack
from mlinfra.features.online.result import FloatType, OnlineFeatures
from mlinfra.features.online.status import NEVER, FeatureStatus

MISSING, EXPIRED = int(FeatureStatus.MISSING), int(FeatureStatus.EXPIRED)
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
        self.features = tuple(features)
        self._positions = np.array(group.positions(features), np.intp)
        self._last = int(self._positions.max(initial=-1))
        self._width = len(group.columns)
        self._types = tuple(group.columns[name] for name in features)
        self._texts = [place for place, kind in enumerate(self._types) if not is_number(kind)]
        self._has_exact = any(may_be_exact(kind) for kind in self._types)
        self._rows = rows
        self._ttl = ttl
        self._dtype = dtype
        self._clock = clock
        self._place = f"feature group {group.name!r} version {group.version!r}"
        self._memory = Memory(len(self.features), memory_rows)
        self._lock = threading.Lock()

    def read(self, keys: Key | Sequence[Key]) -> OnlineFeatures:
        """The features of one entity or several, as of now.

        Args:
            keys: a key, or any number of them; one that is asked for twice comes twice.

        Raises:
            InvalidFeatures: a key is not of the group's type.
            CorruptFeatures, FeatureStoreUnavailable: the store cannot be read.
        """
        if isinstance(keys, (str, int, np.integer)):
            keys = [keys]
        elif not isinstance(keys, list):
            keys = list(keys)
        cutoff = NEVER if self._ttl is None else self._clock() - self._ttl
        block = self._remembered(keys) or self._fetched(keys)
        if cutoff > NEVER and len(keys) and block.events.min() < cutoff:
            _expire(block, block.events < cutoff)
        return OnlineFeatures(keys, self.features, self._types, block, self._dtype)

    def _remembered(self, keys: Sequence[Key]) -> Block | None:
        with self._lock:
            generation = self._memory.generation
            if generation is None or generation != self._rows.generation():
                return None
            return self._memory.find(keys)

    def _fetched(self, keys: Sequence[Key]) -> Block:
        """From the store, all of them in one go, so that they are of one moment."""
        generation, rows = self._rows.fetch(keys)
        block = self._decoded(rows)
        if generation is not None:
            with self._lock:
                self._memory.keep(generation, keys, block)
        return block

    def _decoded(self, rows: list[bytes | None]) -> Block:
        block = self._decoded_at_once(rows) or self._decoded_one_by_one(rows)
        if self._texts:
            block.values[:, self._texts] = np.nan
        return block

    def _decoded_at_once(self, rows: list[bytes | None]) -> Block | None:
        """Rows of numbers and of one length, or None where they are not."""
        sizes = set(map(len, filter(None, rows)))
        if self._has_exact or len(sizes) > 1:
            return None
        width = (sizes.pop() - HEADER.size) // FLOAT_BYTES if sizes else self._width
        if width <= self._last:
            return None
        missing = _missing_row(width)
        records = np.frombuffer(b"".join([row or missing for row in rows]), row_type(width))
        if records["exact"].any() or (records["width"] != width).any():
            return None
        values = records["values"].take(self._positions, axis=1)
        status = np.isnan(values).view(np.uint8)
        events = records["event"].astype(np.int64)
        if None in rows:
            status[events == NEVER] = MISSING
        return Block(values, status, events, None)

    def _decoded_one_by_one(self, rows: list[bytes | None]) -> Block:
        values = np.full((len(rows), len(self.features)), np.nan)
        status = np.full(values.shape, MISSING, np.uint8)
        events = np.full(len(rows), NEVER, np.int64)
        exact: list[Exact] = [{} for _ in rows]
        for number, row in enumerate(rows):
            if row is None:
                continue
            if not is_whole(row):
                raise CorruptFeatures(
                    f"a row of {self._place} in {self._rows.place} is damaged; restore the store from a "
                    "backup, or materialize the group again with force"
                )
            events[number], stored, stored_exact = unpack(row)
            there = self._positions < len(stored)
            values[number, there] = stored[self._positions[there]]
            status[number, there] = np.isnan(values[number, there])
            exact[number] = {
                place: stored_exact[position]
                for place, position in enumerate(self._positions.tolist())
                if position in stored_exact
            }
        return Block(values, status, events, exact if self._has_exact else None)


def _expire(block: Block, old: npt.NDArray[np.bool_]) -> None:
    status = block.status[old]
    status[status != MISSING] = EXPIRED
    block.status[old] = status
    block.values[old] = np.nan


@lru_cache(maxsize=64)
def _missing_row(width: int) -> bytes:
    return pack(np.array([NEVER]), np.array([NEVER]), np.full((1, width), np.nan), None)[0]
