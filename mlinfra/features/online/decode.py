"""Rows of bytes as arrays of chosen features."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlinfra.features.errors import CorruptFeatures
from mlinfra.features.online.group import OnlineGroup, is_number, may_be_exact
from mlinfra.features.online.packed import (
    FLOAT,
    HEADER_FLOATS,
    INTEGER,
    Exact,
    FloatMatrix,
    Int64s,
    is_whole,
    pack,
    plain_width,
    unpack,
    without_exact,
)
from mlinfra.features.online.status import NEVER, FeatureStatus

MISSING = int(FeatureStatus.MISSING)
BYTE = np.dtype(np.uint8)


class Block(NamedTuple):
    """Decoded rows.

    Attributes:
        values: shape (rows, features), NaN where there is no number.
        status: as of the rows alone, whatever their age; shape (rows, features).
        events: event times in nanoseconds since 1970, shape (rows,); `NEVER` where there is no row.
        exact: for each row the values by feature that a float cannot hold; None where no feature has such.
    """

    values: FloatMatrix
    status: npt.NDArray[np.uint8]
    events: Int64s
    exact: list[Exact] | None


class RowDecoder:
    """Decodes rows of one group version.

    Args:
        group: the group.
        features: the features to decode, in the order wanted.
        place: where the rows are, for messages.
    """

    def __init__(self, group: OnlineGroup, features: Sequence[str], *, place: str) -> None:
        self.features = tuple(features)
        self._what = f"a row of feature group {group.name!r} version {group.version!r} in {place}"
        self._width = len(group.columns)
        self._positions = np.array(group.positions(features), np.intp)
        self.types = tuple(group.columns[name] for name in features)
        self._in_row = self._positions + HEADER_FLOATS
        self._in_one_row = self._in_row.reshape(1, -1)
        self._all = self._positions.tolist() == list(range(self._width))
        self._last = int(self._positions.max(initial=-1))
        self._not_numbers = [place for place, kind in enumerate(self.types) if not is_number(kind)]
        self._may_be_exact = any(may_be_exact(kind) for kind in self.types)

    def decode(self, rows: Sequence[bytes | None]) -> Block:
        """The features of the rows; None is a row that is not there.

        Raises:
            CorruptFeatures: a row is damaged.
        """
        block = self._single(rows[0]) if len(rows) == 1 else self._at_once(rows)
        if block is None and not self._may_be_exact:
            block = self._at_once([row and without_exact(row) for row in rows])
        block = block or self._one_by_one(rows)
        if self._not_numbers:
            block.values[:, self._not_numbers] = np.nan
        return block

    def _single(self, row: bytes | None) -> Block | None:
        """What `_at_once` gives of one row, in half the time."""
        if row is None or plain_width(row) <= self._last:
            return None
        floats = np.frombuffer(row, FLOAT)
        values = floats.take(self._in_one_row)
        return Block(values, np.isnan(values).view(BYTE), floats[:1].view(INTEGER), None)

    def _at_once(self, rows: Sequence[bytes | None]) -> Block | None:
        """Rows without an exact section and of one length, or None where they are not."""
        first = next(filter(None, rows), None)
        width = self._width if first is None else plain_width(first)
        if width <= self._last:
            return None
        try:
            content, absent = b"".join(rows), False  # type: ignore[arg-type]
        except TypeError:
            missing = _missing_row(width)
            content, absent = b"".join([row or missing for row in rows]), True
        floats = HEADER_FLOATS + width
        if len(content) != len(rows) * floats * FLOAT.itemsize:
            return None
        matrix = np.frombuffer(content, FLOAT).reshape(len(rows), floats)
        heads = matrix[:, :HEADER_FLOATS].view(INTEGER)
        # Each row is as long as its head tells, so one of another length is met where its own head stands.
        if len(rows) > 1 and (heads[:, 2] != width).any():
            return None
        values = matrix[:, HEADER_FLOATS:].copy() if self._all else matrix.take(self._in_row, axis=1)
        status = np.isnan(values).view(BYTE)
        events = heads[:, 0].copy()
        if absent:
            status[events == NEVER] = MISSING
        return Block(values, status, events, None)

    def _one_by_one(self, rows: Sequence[bytes | None]) -> Block:
        values = np.full((len(rows), len(self.features)), np.nan)
        status = np.full(values.shape, MISSING, np.uint8)
        events = np.full(len(rows), NEVER, np.int64)
        exact: list[Exact] = [{} for _ in rows]
        for number, row in enumerate(rows):
            if row is None:
                continue
            if not is_whole(row):
                raise CorruptFeatures(
                    f"{self._what} is damaged; restore the store from a backup, or materialize the group "
                    "again with force"
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
        return Block(values, status, events, exact if self._may_be_exact else None)


@lru_cache(maxsize=64)
def _missing_row(width: int) -> bytes:
    return pack(np.array([NEVER]), np.array([NEVER]), np.full((1, width), np.nan), None)[0]
