"""A request over gRPC is read, checked and answered as the same one over HTTP."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mlinfra.serving.errors import (
    InvalidRequestError,
    ModelFailedError,
    NotReadyError,
    QueueFullError,
    RequestError,
    UnauthorizedError,
    UnknownModelError,
    UnusableValueError,
)
from mlinfra.serving.grpc_protocol import CONTENTS, decode_message, encode_message
from mlinfra.serving.grpc_service import STATUS
from mlinfra.serving.infer_protocol import decode_request
from mlinfra.serving.open_inference import open_inference_pb2 as messages
from mlinfra.serving.tensors import DTYPES, OPEN, Array, TensorSpec, bytes_of_array

INPUT = TensorSpec("x", "FP32", (OPEN, 2))
ARRAYS = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4).flatmap(
            lambda shape: npst.arrays(
                DTYPES[name],
                shape,
                elements={"f": st.floats(-1000, 1000, width=16), "O": st.text()}.get(DTYPES[name].kind),
            )
        ),
    )
)


def given_raw(name: str, datatype: str, array: Array) -> messages.ModelInferRequest:
    message = messages.ModelInferRequest()
    message.inputs.add(name=name, datatype=datatype, shape=array.shape)
    message.raw_input_contents.append(bytes_of_array(array))
    return message


def given_typed(name: str, datatype: str, array: Array) -> messages.ModelInferRequest:
    message = messages.ModelInferRequest()
    tensor = message.inputs.add(name=name, datatype=datatype, shape=array.shape)
    values = array.ravel().tolist()
    getattr(tensor.contents, CONTENTS[datatype]).extend(
        [each.encode() for each in values] if datatype == "BYTES" else values
    )
    return message


@given(ARRAYS)
def test_an_array_arrives_in_both_encodings(named: tuple[str, Array]) -> None:
    datatype, array = named
    spec = TensorSpec("x", datatype, (OPEN, *array.shape[1:]))
    ways: list[Callable[[str, str, Array], messages.ModelInferRequest]] = [given_raw]
    if datatype in CONTENTS:
        ways.append(given_typed)
    for way in ways:
        sent = messages.ModelInferRequest.FromString(way("x", datatype, array).SerializeToString())
        found = decode_message(sent, [spec], [spec])
        assert found.rows == len(array)
        assert found.inputs["x"].dtype == array.dtype
        np.testing.assert_array_equal(found.inputs["x"], array)


@given(ARRAYS, st.booleans())
def test_an_answer_holds_the_array(named: tuple[str, Array], raw: bool) -> None:
    datatype, array = named
    spec = TensorSpec("y", datatype, (OPEN, *array.shape[1:]))
    answer = encode_message("m", "3", {"id": "one"}, [spec], [array], [("y", False)], raw=raw)
    answer = messages.ModelInferResponse.FromString(answer.SerializeToString())
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "3", "one")
    (tensor,) = answer.outputs
    assert (tensor.name, tensor.datatype, tuple(tensor.shape)) == ("y", datatype, array.shape)
    if raw or datatype == "FP16":
        assert list(answer.raw_output_contents) == [bytes_of_array(array)]
        assert not tensor.HasField("contents")
    else:
        values = list(getattr(tensor.contents, CONTENTS[datatype]))
        texts = [each.decode() for each in values] if datatype == "BYTES" else values
        np.testing.assert_array_equal(np.array(texts, array.dtype).reshape(array.shape), array)


def test_several_inputs_and_chosen_outputs() -> None:
    specs = [TensorSpec("a", "FP32", (OPEN, 1)), TensorSpec("b", "INT64", (OPEN, 2))]
    message = messages.ModelInferRequest(id="mine")
    for spec, array in zip(
        specs, (np.ones((3, 1), np.float32), np.arange(6, dtype=np.int64).reshape(3, 2)), strict=True
    ):
        message.inputs.add(name=spec.name, datatype=spec.datatype, shape=array.shape)
        message.raw_input_contents.append(bytes_of_array(array))
    message.outputs.add(name="b")
    message.parameters["event_timestamp"].string_param = "2026-01-31T12:00:00Z"
    found = decode_message(message, specs, specs)
    assert (found.id, found.rows) == ("mine", 3)
    assert [name for name, _ in found.wanted] == ["b"]
    assert found.event_time == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert found.inputs["b"].tolist() == [[0, 1], [2, 3], [4, 5]]


def sent_with(**changes: Any) -> tuple[messages.ModelInferRequest, dict[str, Any]]:
    """The same request over gRPC and over HTTP."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]} | changes.pop(
        "tensor", {}
    )
    message = messages.ModelInferRequest(id=changes.get("id", ""))
    given = message.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
    getattr(given.contents, CONTENTS.get(tensor["datatype"], "fp32_contents")).extend(tensor["data"])
    for name, value in changes.get("parameters", {}).items():
        message.parameters[name].string_param = value
    for output in changes.get("outputs", []):
        message.outputs.add(name=output["name"])
    return message, {"inputs": [tensor], **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"tensor": {"name": "z"}},
        {"tensor": {"datatype": "FP64"}},
        {"tensor": {"shape": [2, 1]}},
        {"tensor": {"shape": [-1, 2]}},
        {"tensor": {"shape": [2, 2]}},
        {"tensor": {"shape": [0, 2], "data": []}},
        {"tensor": {"data": [1.0, 1e39]}},
        {"id": "x" * 129},
        {"parameters": {"event_timestamp": "2026-01-31"}},
        {"outputs": [{"name": "z"}]},
    ],
)
def test_a_mistake_is_told_in_the_same_words(changes: dict[str, Any]) -> None:
    message, body = sent_with(**changes)
    said = []
    for decode in (
        lambda: decode_message(message, [INPUT], [INPUT]),
        lambda: decode_request(json.dumps(body).encode(), None, [INPUT], [INPUT]),
    ):
        with pytest.raises(RequestError) as told:
            decode()
        said.append((told.value.status, str(told.value)))
    assert said[0] == said[1]


def told(message: messages.ModelInferRequest, spec: TensorSpec = INPUT) -> str:
    with pytest.raises(RequestError) as error:
        decode_message(message, [spec], [spec])
    return str(error.value)


def test_values_in_the_field_of_another_datatype() -> None:
    message, _ = sent_with()
    message.inputs[0].contents.int_contents.append(1)
    assert told(message) == ('input "x" is FP32: its values belong into fp32_contents, not into int_contents')


def test_bytes_and_contents_together() -> None:
    message, _ = sent_with()
    message.raw_input_contents.append(bytes(8))
    assert told(message) == 'input "x" has contents beside raw_input_contents'


def test_bytes_of_fewer_inputs() -> None:
    message = given_raw("x", "FP32", np.zeros((1, 2), np.float32))
    message.raw_input_contents.append(b"")
    assert told(message) == "raw_input_contents has 2 blocks, and the request has 1 inputs"


def test_too_few_bytes() -> None:
    message = given_raw("x", "FP32", np.zeros((1, 2), np.float32))
    message.raw_input_contents[0] = bytes(7)
    assert told(message) == 'input "x" has 7 bytes, and FP32 of the shape [1, 2] has 8'


def test_no_input() -> None:
    assert told(messages.ModelInferRequest()) == "inputs is a list with a tensor for each input of the model"


def test_numbers_that_have_no_field() -> None:
    half = TensorSpec("x", "FP16", (OPEN, 2))
    message = messages.ModelInferRequest()
    message.inputs.add(name="x", datatype="FP16", shape=[1, 2])
    assert told(message, half) == 'input "x" is FP16, which raw_input_contents alone can hold'


def test_a_number_beyond_its_datatype() -> None:
    message = messages.ModelInferRequest()
    message.inputs.add(name="x", datatype="INT8", shape=[1, 1]).contents.int_contents.append(300)
    small = TensorSpec("x", "INT8", (OPEN, 1))
    assert told(message, small) == 'input "x" holds a number beyond INT8'


def test_a_damaged_text() -> None:
    message = messages.ModelInferRequest()
    message.inputs.add(name="x", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(b"\xff")
    assert told(message, TensorSpec("x", "BYTES", (OPEN, 1))).startswith('input "x": a text is damaged')


PARAMETERS = st.one_of(
    st.builds(lambda value: messages.InferParameter(bool_param=value), st.booleans()),
    st.builds(lambda value: messages.InferParameter(int64_param=value), st.integers(-(2**63), 2**63 - 1)),
    st.builds(lambda value: messages.InferParameter(string_param=value), st.text(max_size=8)),
    st.just(messages.InferParameter()),
)
NAMES = st.sampled_from(["x", "binary_data_size", "event_timestamp", "classification", "binary_data", ""])


@st.composite
def any_message(draw: st.DrawFn) -> messages.ModelInferRequest:
    message = messages.ModelInferRequest(id=draw(st.text(max_size=3)))
    for _ in range(draw(st.integers(0, 2))):
        tensor = message.inputs.add(
            name=draw(NAMES),
            datatype=draw(st.sampled_from(["FP32", "FP16", "BYTES", "other"])),
            shape=draw(st.lists(st.integers(-1, 3), max_size=3)),
        )
        for name, value in draw(st.dictionaries(NAMES, PARAMETERS, max_size=2)).items():
            tensor.parameters[name].CopyFrom(value)
        tensor.contents.fp32_contents.extend(draw(st.lists(st.floats(width=32), max_size=6)))
    for name, value in draw(st.dictionaries(NAMES, PARAMETERS, max_size=2)).items():
        message.parameters[name].CopyFrom(value)
    message.raw_input_contents.extend(draw(st.lists(st.binary(max_size=24), max_size=2)))
    for name in draw(st.lists(NAMES, max_size=2)):
        message.outputs.add(name=name)
    return message


@given(any_message())
def test_whatever_the_message_is_the_error_is_a_clear_one(message: messages.ModelInferRequest) -> None:
    status = 200
    try:
        assert decode_message(message, [INPUT], [INPUT]).inputs["x"].shape[1:] == (2,)
    except RequestError as error:
        status = error.status
    assert status in (200, 400, 422)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequestError, grpc.StatusCode.INVALID_ARGUMENT),
        (UnusableValueError, grpc.StatusCode.INVALID_ARGUMENT),
        (UnauthorizedError, grpc.StatusCode.UNAUTHENTICATED),
        (UnknownModelError, grpc.StatusCode.NOT_FOUND),
        (QueueFullError, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (ModelFailedError, grpc.StatusCode.INTERNAL),
        (NotReadyError, grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_each_error_has_its_status(error: type[RequestError], status: grpc.StatusCode) -> None:
    assert STATUS[error.status] is status
