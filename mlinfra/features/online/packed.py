"""One entity's row as bytes: event time, creation time, one float64 a column, and what floats cannot hold.

    int64  event time, nanoseconds since 1970 in UTC
    int64  creation time, likewise
    uint32 columns in the row: columns are only ever added at the end, so an older row is shorter
    uint32 bytes of the exact section
    float64 x columns; NaN is null
    JSON   the exact section: value by column number, for texts, times, and integers beyond 2**53

Everything is little-endian. Rows of numbers have no exact section and one length, so many of them decode
in one step; the head is as long as three floats.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FLOAT = np.dtype("<f8")
INTEGER = np.dtype("<i8")
HEADER_FLOATS = 3
HEADER = struct.Struct("<qqII")
STAMPS = struct.Struct("<qq")
SHAPE = struct.Struct("<Q")
SHAPE_OFFSET = STAMPS.size

Exact = Mapping[int, Any]
FloatMatrix = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


def pack(event: Int64s, created: Int64s, values: FloatMatrix, exact: Sequence[Exact] | None) -> list[bytes]:
    """Rows as bytes.

    Args:
        event, created: nanoseconds since 1970, shape (rows,).
        values: shape (rows, columns); NaN is null.
        exact: for each row the values by column number that a float cannot hold; None where there are none.
    """
    rows, width = values.shape
    matrix = np.empty((rows, HEADER_FLOATS + width), FLOAT)
    heads = matrix[:, :HEADER_FLOATS].view(INTEGER)
    heads[:, 0], heads[:, 1], heads[:, 2] = event, created, width
    matrix[:, HEADER_FLOATS:] = values
    tails = [json.dumps(each).encode() if each else b"" for each in exact] if exact else None
    if tails:
        heads[:, 2] += np.array([len(tail) for tail in tails]) << 32
    size, content = matrix.strides[0], matrix.tobytes()
    parts = [content[start : start + size] for start in range(0, rows * size, size)]
    return [part + tail for part, tail in zip(parts, tails, strict=True)] if tails else parts


def unpack(row: bytes) -> tuple[int, FloatMatrix, dict[int, Any]]:
    """Event time, values (shape (columns,)) and exact values of one row."""
    event, _, width, length = HEADER.unpack_from(row)
    values = np.frombuffer(row, FLOAT, width, HEADER.size)
    exact = json.loads(row[HEADER.size + FLOAT.itemsize * width :]) if length else {}
    return event, values, {int(column): value for column, value in exact.items()}


def plain_width(row: bytes) -> int:
    """Columns in a row without an exact section; of another or a damaged one, what fits no row."""
    if len(row) < HEADER.size:
        return -1
    width: int = SHAPE.unpack_from(row, SHAPE_OFFSET)[0]
    return width if len(row) == HEADER.size + FLOAT.itemsize * width else -1


def without_exact(row: bytes) -> bytes:
    """The row without its exact section; a damaged one stays damaged."""
    if not is_whole(row):
        return row
    event, created, width, _ = HEADER.unpack_from(row)
    return HEADER.pack(event, created, width, 0) + row[HEADER.size : HEADER.size + FLOAT.itemsize * width]


def is_whole(row: bytes) -> bool:
    """Whether the row has the length that its head tells."""
    if len(row) < HEADER.size:
        return False
    _, _, width, length = HEADER.unpack_from(row)
    return bool(len(row) == HEADER.size + FLOAT.itemsize * width + length)
