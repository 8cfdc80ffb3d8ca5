"""Tensors of the Open Inference Protocol: what a model reads and answers, and their two encodings.

In JSON a tensor's data is a list in row-major order, flat or nested as its shape. In the binary extension
it is the array's little-endian bytes; texts are each preceded by their length in 4 bytes.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.serving.errors import InvalidRequestError, UnusableValueError

Array = NDArray[Any]
OPEN = -1
"""Of an axis: any size."""
LENGTH = struct.Struct("<I")
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(np.object_),
}
ONNX_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
NUMBERS = frozenset((int, float))
ALLOWED = {"b": frozenset((bool,)), "i": frozenset((int,)), "u": frozenset((int,)), "O": frozenset((str,))}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor that a model reads or answers.

    Attributes:
        name: its name in the graph.
        datatype: as the protocol names it.
        shape: size of each axis; `OPEN` where any size will do.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""
        return DTYPES[self.datatype]

    def to_wire(self) -> dict[str, Any]:
        """The tensor as a model's metadata tell it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def check_shape(self, shape: Any) -> tuple[int, ...]:
        """The shape of a given tensor.

        Raises:
            InvalidRequestError: it is none, or does not fit this one's.
        """
        # Not isinstance: true would be a size of 1.
        if not isinstance(shape, list) or any(type(size) is not int or size < 0 for size in shape):
            raise InvalidRequestError(
                f'input "{self.name}": shape is a list of sizes, such as {list(self._example())}, '
                f"not {shape!r:.80}"
            )
        given = tuple(shape)
        fits = len(given) == len(self.shape) and all(
            size in (OPEN, found) for size, found in zip(self.shape, given, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if size == OPEN else str(size) for size in self.shape)
            raise InvalidRequestError(
                f'input "{self.name}" has the shape {list(given)}, and the model reads [{wanted}]'
            )
        if 0 in given:
            raise InvalidRequestError(f'input "{self.name}" is empty: its shape is {list(given)}')
        return given

    def _example(self) -> tuple[int, ...]:
        return tuple(1 if size == OPEN else size for size in self.shape)


def array_of_json(spec: TensorSpec, shape: tuple[int, ...], data: Any) -> Array:
    """The array in the data of a JSON tensor.

    Raises:
        InvalidRequestError: the data is no list, of another length, ragged, or of another type.
        UnusableValueError: a number is beyond the type.
    """
    if not isinstance(data, list):
        raise InvalidRequestError(f'input "{spec.name}": data is a list')
    flat = _flat(spec, shape, data)
    dtype = spec.dtype
    found = set(map(type, flat))
    allowed = ALLOWED.get(dtype.kind, NUMBERS)
    if not found <= allowed:
        place, value = next((place, each) for place, each in enumerate(flat) if type(each) not in allowed)
        what = "a missing value" if value is None else f"{str(value)[:40]!r}"
        raise InvalidRequestError(f'input "{spec.name}" is {spec.datatype}, and value {place} is {what}')
    if dtype.kind == "O":
        return np.array(flat, dtype=np.object_).reshape(shape)
    try:
        with np.errstate(over="ignore"):
            array = np.array(flat, dtype=dtype)
    except OverflowError as error:
        raise UnusableValueError(f'input "{spec.name}" holds a number beyond {spec.datatype}') from error
    return array.reshape(shape)


def array_of_bytes(spec: TensorSpec, shape: tuple[int, ...], data: memoryview) -> Array:
    """The array in the bytes of a binary tensor.

    Raises:
        InvalidRequestError: there are more or fewer bytes than the shape asks for, or texts are damaged.
    """
    count = math.prod(shape)
    dtype = spec.dtype
    if dtype.kind == "O":
        return np.array(_texts(spec, data, count), dtype=np.object_).reshape(shape)
    if len(data) != count * dtype.itemsize:
        raise InvalidRequestError(
            f'input "{spec.name}" has {len(data)} bytes, and {spec.datatype} of the shape {list(shape)} has '
            f"{count * dtype.itemsize}"
        )
    if dtype.kind == "b" and bytes(data).strip(b"\0\1"):
        raise InvalidRequestError(f'input "{spec.name}" is BOOL, and a byte in it is neither 0 nor 1')
    return np.frombuffer(data, dtype).reshape(shape)


def refuse_no_numbers(spec: TensorSpec, array: Array) -> None:
    """Refuse NaN and infinities, which a model answers with nonsense.

    Raises:
        UnusableValueError: the message names the first place.
    """
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    bad = ~np.isfinite(array)
    place = [int(axis[0]) for axis in np.nonzero(bad)]
    value = array[tuple(place)]
    what = "NaN" if np.isnan(value) else "infinite or beyond the type"
    raise UnusableValueError(
        f'input "{spec.name}" is {what} in {int(bad.sum())} of {array.size} values, first at {place}'
    )


def bytes_of_array(array: Array) -> bytes:
    """An array in the binary encoding."""
    if array.dtype.kind == "O":
        texts = [each if isinstance(each, bytes) else str(each).encode() for each in array.ravel()]
        return b"".join(LENGTH.pack(len(text)) + text for text in texts)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _flat(spec: TensorSpec, shape: tuple[int, ...], data: list[Any]) -> Sequence[Any]:
    """The values in row-major order, of a flat list or of one nested as the shape."""
    flat: list[Any] = data
    if data and type(data[0]) is list:
        # One axis at a time: every list must be as long as the shape says.
        level = [data]
        for size in shape:
            if any(type(each) is not list or len(each) != size for each in level):
                raise InvalidRequestError(
                    f'input "{spec.name}": data is not nested as its shape {list(shape)} says'
                )
            flat = list(chain.from_iterable(level))
            level = flat
    count = math.prod(shape)
    if len(flat) != count:
        raise InvalidRequestError(
            f'input "{spec.name}" has {len(flat)} values, and the shape {list(shape)} has {count}'
        )
    return flat


def _texts(spec: TensorSpec, data: memoryview, count: int) -> list[str]:
    texts, start = [], 0
    try:
        while start < len(data):
            (length,) = LENGTH.unpack_from(data, start)
            start += LENGTH.size
            if start + length > len(data):
                raise InvalidRequestError(f'input "{spec.name}": the last text is cut short')
            texts.append(str(data[start : start + length], "utf-8"))
            start += length
    except (struct.error, UnicodeDecodeError) as error:
        raise InvalidRequestError(f'input "{spec.name}": the texts are damaged: {error}') from error
    if len(texts) != count:
        raise InvalidRequestError(f'input "{spec.name}" has {len(texts)} texts, and its shape has {count}')
    return texts
