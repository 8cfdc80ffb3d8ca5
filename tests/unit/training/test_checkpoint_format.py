"""A checkpoint's bytes give back what was put in, and damage is noticed."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.training.checkpoint_format import decode, encode
from mlinfra.training.errors import CorruptCheckpointError

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    values = draw(st.lists(st.integers(0, 200), min_size=math.prod(shape), max_size=math.prod(shape)))
    return torch.tensor(values).reshape(shape).to(draw(st.sampled_from(DTYPES)))


PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), tensors())
KEYS = st.one_of(st.text(max_size=8), st.integers(), st.sampled_from(["$tensor", "$tuple", "$items"]))
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))


@given(VALUES)
def test_what_was_put_in_comes_back(value: Any) -> None:
    assert same(decode(encode(value)), value)


@given(VALUES, st.data())
def test_no_damage_goes_unnoticed(value: Any, data: st.DataObject) -> None:
    content = bytearray(encode(value))
    if data.draw(st.booleans()):
        damaged = bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        damaged = bytes(content)
    try:
        found = decode(damaged)
    except CorruptCheckpointError:
        return
    # A flip in the header's padding or in the order of its keys changes nothing that is read.
    assert same(found, value)


def test_tensors_that_share_memory_are_kept_apart() -> None:
    whole = torch.arange(6.0)
    found = decode(encode({"whole": whole, "view": whole[2:4], "turned": whole.reshape(2, 3).T}))
    assert torch.equal(found["view"], torch.tensor([2.0, 3.0]))
    found["whole"][2] = 9
    assert found["view"][0] == 2


def test_what_is_no_plain_value_is_refused_by_its_place() -> None:
    with pytest.raises(TypeError, match=r"value\['optimizer'\]\[1\], a object"):
        encode({"optimizer": [1, object()]})


def test_another_safetensors_file_is_no_checkpoint() -> None:
    from safetensors.torch import save

    with pytest.raises(CorruptCheckpointError, match="its format is None"):
        decode(save({"weight": torch.zeros(2)}))
