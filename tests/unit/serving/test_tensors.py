"""Tensors come out of both encodings as they went in, and nothing else does."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mlinfra.serving.errors import InvalidRequestError, RequestError, UnusableValueError
from mlinfra.serving.infer_protocol import decode_request, encode_answer
from mlinfra.serving.tensors import (
    DTYPES,
    OPEN,
    TensorSpec,
    array_of_bytes,
    array_of_json,
    bytes_of_array,
    refuse_no_numbers,
)

SHAPES = npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)
ARRAYS = st.sampled_from(sorted(set(DTYPES) - {"BYTES"})).flatmap(
    lambda name: st.tuples(
        st.just(name),
        SHAPES.flatmap(
            lambda shape: npst.arrays(
                DTYPES[name],
                shape,
                elements=None if DTYPES[name].kind != "f" else st.floats(-1000, 1000, width=16),
            )
        ),
    )
)


def spec(datatype: str, shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec("x", datatype, (OPEN, *shape[1:]))


@given(ARRAYS, st.booleans())
def test_json_gives_the_array_back(named: tuple[str, np.ndarray[Any, Any]], nested: bool) -> None:
    datatype, array = named
    data = array.tolist() if nested else array.ravel().tolist()
    found = array_of_json(spec(datatype, array.shape), array.shape, data)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@given(ARRAYS)
def test_bytes_give_the_array_back(named: tuple[str, np.ndarray[Any, Any]]) -> None:
    datatype, array = named
    content = memoryview(bytes_of_array(array))
    np.testing.assert_array_equal(array_of_bytes(spec(datatype, array.shape), array.shape, content), array)
    with pytest.raises(InvalidRequestError):
        array_of_bytes(spec(datatype, array.shape), array.shape, content[:-1])


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_texts_survive_both_encodings(texts: list[str]) -> None:
    array = np.array(texts, object)
    shape = (len(texts),)
    assert array_of_json(spec("BYTES", shape), shape, texts).tolist() == texts
    found = array_of_bytes(spec("BYTES", shape), shape, memoryview(bytes_of_array(array)))
    assert found.tolist() == texts


@pytest.mark.parametrize("content", [b"\x01", b"\x05\0\0\0ab", b"\x01\0\0\0\xff", b"", b"\xff\xff\xff\xff"])
def test_damaged_texts_are_refused(content: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        array_of_bytes(spec("BYTES", (1,)), (1,), memoryview(content))


@pytest.mark.parametrize(
    ("datatype", "value", "error"),
    [
        ("INT8", 300, UnusableValueError),
        ("UINT8", -1, UnusableValueError),
        ("INT64", 2**70, UnusableValueError),
        ("INT64", 1.5, InvalidRequestError),
        ("INT64", True, InvalidRequestError),
        ("BOOL", 1, InvalidRequestError),
        ("FP32", False, InvalidRequestError),
        ("FP32", "1", InvalidRequestError),
        ("FP32", None, InvalidRequestError),
        ("FP32", {}, InvalidRequestError),
        ("BYTES", 1, InvalidRequestError),
    ],
)
def test_values_of_another_type_are_refused(datatype: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        array_of_json(spec(datatype, (1,)), (1,), [value])


def test_a_byte_that_is_no_boolean_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="neither 0 nor 1"):
        array_of_bytes(spec("BOOL", (2,)), (2,), memoryview(b"\x01\x02"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_numbers_are_refused(value: float) -> None:
    array = np.zeros((2, 3), np.float32)
    refuse_no_numbers(spec("FP32", (2, 3)), array)
    array[1, 2] = value
    with pytest.raises(UnusableValueError, match=r"in 1 of 6 values, first at \[1, 2\]"):
        refuse_no_numbers(spec("FP32", (2, 3)), array)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["inputs", "outputs", "name", "shape", "datatype", "data", "parameters", "id"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    JSON
    | st.builds(
        lambda tensor: {"inputs": [{"name": "x", "datatype": "FP32", **tensor}]},
        st.fixed_dictionaries({"shape": JSON, "data": JSON}),
    ),
    st.none() | st.integers(-5, 500),
)
def test_whatever_the_body_is_the_error_is_a_clear_one(body: Any, header_length: int | None) -> None:
    content = json.dumps(body).encode()
    inputs = [TensorSpec("x", "FP32", (OPEN, 2))]
    status = 200
    try:
        shape = decode_request(content, header_length, inputs, inputs).inputs["x"].shape
        assert shape[1:] == (2,)
    except RequestError as error:
        status = error.status
    assert status in (200, 400, 422)


def test_an_answer_is_in_the_encoding_asked_for_each_output() -> None:
    outputs = [TensorSpec("a", "FP32", (OPEN, 1)), TensorSpec("b", "INT64", (OPEN,))]
    arrays = [np.array([[1.5]], np.float32), np.array([7])]
    body, length = encode_answer({"id": "1"}, outputs, arrays, [("b", False)])
    assert length is None
    assert body == b'{"id":"1","outputs":[{"name":"b","datatype":"INT64","shape":[1],"data":[7]}]}'
    body, length = encode_answer({"id": "1"}, outputs, arrays, [("a", True), ("b", False)])
    assert body[length:] == np.float32(1.5).tobytes()
