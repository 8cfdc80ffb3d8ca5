"""One entity's row as bytes: event time, creation time, one float64 a column, and what floats cannot hold.

    int64  event time, nanoseconds since 1970 in UTC
    int64  creation time, likewise
    uint32 columns in the row: columns are only ever added at the end, so an older row is shorter
    uint32 bytes of the exact section
    float64 x columns; NaN is null
    JSON   the exact section: value by column number, for texts, times, and integers beyond 2**53

Everything is little-endian. Rows of numbers have no exact section and one length, so many of them decode
in one step.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

HEADER = struct.Struct("<qqII")
FLOAT_BYTES = 8
STAMPS = struct.Struct("<qq")

Exact = Mapping[int, Any]
FloatMatrix = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


def row_type(width: int) -> np.dtype[np.void]:
    """The numpy type of a row with so many columns and no exact section."""
    return np.dtype(
        [
            ("event", "<i8"),
            ("created", "<i8"),
            ("width", "<u4"),
            ("exact", "<u4"),
            ("values", "<f8", (width,)),
        ]
    )


def pack(event: Int64s, created: Int64s, values: FloatMatrix, exact: Sequence[Exact] | None) -> list[bytes]:
    """Rows as bytes.

    Args:
        event, created: nanoseconds since 1970, shape (rows,).
        values: shape (rows, columns); NaN is null.
        exact: for each row the values by column number that a float cannot hold; None where there are none.
    """
    rows, width = values.shape
    records = np.zeros(rows, row_type(width))
    records["event"], records["created"], records["width"] = event, created, width
    records["values"] = values
    tails = [b"" if not each else json.dumps(each).encode() for each in exact] if exact else None
    if tails:
        records["exact"] = [len(tail) for tail in tails]
    size, content = records.dtype.itemsize, records.tobytes()
    heads = [content[start : start + size] for start in range(0, rows * size, size)]
    return [head + tail for head, tail in zip(heads, tails, strict=True)] if tails else heads


def unpack(row: bytes) -> tuple[int, FloatMatrix, dict[int, Any]]:
    """Event time, values (shape (columns,)) and exact values of one row."""
    event, _, width, length = HEADER.unpack_from(row)
    values = np.frombuffer(row, "<f8", width, HEADER.size)
    exact = json.loads(row[HEADER.size + FLOAT_BYTES * width :]) if length else {}
    return event, values, {int(column): value for column, value in exact.items()}


def is_whole(row: bytes) -> bool:
    """Whether the row has the length that its header tells."""
    if len(row) < HEADER.size:
        return False
    _, _, width, length = HEADER.unpack_from(row)
    return bool(len(row) == HEADER.size + FLOAT_BYTES * width + length)
