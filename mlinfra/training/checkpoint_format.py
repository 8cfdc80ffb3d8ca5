"""Nested values and tensors as the bytes of one safetensors file, and back; nothing in it is ever executed.

The tensors are safetensors' own; the structure around them is JSON in the file's header, where each
tensor is named by its number. A digest over both tells a damaged file from a whole one.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlinfra.training.errors import CorruptCheckpointError

FORMAT = "mlinfra-checkpoint-1"
TENSOR, TUPLE, ITEMS, NUMBER = "$tensor", "$tuple", "$items", "$number"
HEADER_SIZE_BYTES = 8


def encode(value: Any) -> bytes:
    """The file's bytes.

    Args:
        value: None, booleans, numbers, strings, tensors; lists, tuples and dictionaries of them.

    Raises:
        TypeError: it holds anything else.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_plain(value, tensors, "value"), allow_nan=False)
    content = {"format": FORMAT, "structure": structure, "sha256": _digest(structure, tensors)}
    return bytes(save(tensors, content))


def decode(content: bytes) -> Any:
    """The value in a file's bytes.

    Raises:
        CorruptCheckpointError: the bytes are damaged, or are not what `encode` gives.
    """
    try:
        tensors = load(content)
        size = int.from_bytes(content[:HEADER_SIZE_BYTES], "little")
        header = json.loads(content[HEADER_SIZE_BYTES : HEADER_SIZE_BYTES + size])
    except (SafetensorError, ValueError) as error:
        raise CorruptCheckpointError(f"it is not a whole safetensors file ({error})") from error
    told = header.get("__metadata__") or {}
    if told.get("format") != FORMAT:
        raise CorruptCheckpointError(f"its format is {told.get('format')!r}, not {FORMAT!r}")
    structure = told.get("structure", "")
    if told.get("sha256") != _digest(structure, tensors):
        raise CorruptCheckpointError("its content is not what was written: the digest differs")
    return _value(json.loads(structure), tensors)


def _digest(structure: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(structure.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
    """The value as JSON can hold it; its tensors, copied to the CPU, are added to ``tensors``."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        # JSON has no infinity and no NaN.
        return value if value - value == 0 else {NUMBER: repr(value)}
    if isinstance(value, Tensor):
        name = f"{len(tensors):06d}"
        # A copy: safetensors refuses tensors that share memory.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {TENSOR: name}
    if isinstance(value, list | tuple):
        items = [_plain(item, tensors, f"{where}[{number}]") for number, item in enumerate(value)]
        return {TUPLE: items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        plain = {key: _plain(item, tensors, f"{where}[{key!r}]") for key, item in value.items()}
        if all(isinstance(key, str) and not key.startswith("$") for key in plain):
            return plain
        return {ITEMS: [[_plain(key, tensors, where), item] for key, item in plain.items()]}
    raise TypeError(f"a checkpoint cannot hold {where}, a {type(value).__name__}")


def _value(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(plain, list):
        return [_value(item, tensors) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if TENSOR in plain:
        return tensors[plain[TENSOR]]
    if TUPLE in plain:
        return tuple(_value(item, tensors) for item in plain[TUPLE])
    if NUMBER in plain:
        return float(plain[NUMBER])
    if ITEMS in plain:
        return {_value(key, tensors): _value(item, tensors) for key, item in plain[ITEMS]}
    return {key: _value(item, tensors) for key, item in plain.items()}
