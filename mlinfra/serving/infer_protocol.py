"""Requests and answers of inference in the Open Inference Protocol, with the binary tensor extension."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from mlinfra.errors import suggestion
from mlinfra.serving.errors import InvalidRequestError
from mlinfra.serving.known_ids import checksum_of
from mlinfra.serving.tensors import (
    Array,
    TensorSpec,
    array_of_bytes,
    array_of_json,
    bytes_of_array,
    refuse_no_numbers,
)

MAX_ID_LENGTH = 128
EARLIEST, LATEST = datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
"""Moments between are kept in nanoseconds since 1970."""
BINARY_SIZE = "binary_data_size"
PREDICTION_ID = "prediction_id"
"""Parameter of an answer whose predictions have another ID than the request."""
SERVER_NAME = "mlinfra"
PLATFORM = "onnxruntime_onnx"
EXTENSIONS = ("binary_tensor_data",)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One request, checked against the model's schema.

    Attributes:
        id: what the client calls it; None where it does not say.
        inputs: array of each tensor that the model reads.
        rows: size of the first axis.
        wanted: name of each output to answer, and whether in binary.
        event_time: what the prediction is of; None for now.
    """

    id: str | None
    inputs: Mapping[str, Array]
    rows: int
    wanted: Sequence[tuple[str, bool]]
    event_time: datetime | None = None

    def checksum(self) -> int:
        """Of what is asked."""
        return checksum_of(self.inputs, self.event_time)


def decode_request(
    body: bytes, header_length: int | None, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> InferRequest:
    """Read and check the body of an infer request.

    Args:
        body: JSON, then the bytes of binary tensors.
        header_length: bytes of the JSON part; None where all is.
        inputs, outputs: what the model reads and answers.

    Raises:
        RequestError: it is not what the protocol and the model's schema ask for.
    """
    if header_length is not None and not 0 < header_length <= len(body):
        raise InvalidRequestError(
            f"Inference-Header-Content-Length is {header_length}, and the body has {len(body)} bytes"
        )
    request = read_object(body if header_length is None else body[:header_length])
    binary = memoryview(body)[header_length:] if header_length is not None else memoryview(b"")
    return checked_request(request, binary, inputs, outputs)


def checked_request(
    request: Mapping[str, Any],
    binary: memoryview,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> InferRequest:
    """Check a request.

    Args:
        request: the object of its JSON part.
        binary: of its binary tensors, one after the other.
        inputs, outputs: what the model reads and answers.

    Raises:
        RequestError: it is not what the protocol and the model's schema ask for.
    """
    parameters = _parameters(request, "the request")
    arrays = _inputs(request.get("inputs"), binary, inputs)
    rows = {array.shape[0] for array in arrays.values() if array.ndim}
    if len(rows) > 1:
        raise InvalidRequestError(f"the inputs have {sorted(rows)} rows, and must have the same number")
    return InferRequest(
        id=request_id(request),
        inputs=arrays,
        rows=rows.pop() if rows else 1,
        wanted=_wanted(request.get("outputs"), parameters, outputs),
        event_time=event_time(parameters.get("event_timestamp")),
    )


def encode_answer(
    head: dict[str, Any],
    outputs: Sequence[TensorSpec],
    arrays: Sequence[Array],
    wanted: Sequence[tuple[str, bool]],
) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON part where binary tensors follow.

    Args:
        head: name and version of the model, ID, parameters.
        outputs: what the model answers.
        arrays: array of each.
        wanted: as of `InferRequest`.
    """
    by_name = {spec.name: (spec, array) for spec, array in zip(outputs, arrays, strict=True)}
    tensors, blocks = [], []
    for name, binary in wanted:
        spec, array = by_name[name]
        tensor: dict[str, Any] = {"name": name, "datatype": spec.datatype, "shape": array.shape}
        if binary:
            block = bytes_of_array(array)
            blocks.append(block)
            tensor["parameters"] = {BINARY_SIZE: len(block)}
        else:
            flat = np.ascontiguousarray(array).reshape(-1)
            tensor["data"] = flat.tolist() if flat.dtype.kind == "O" else flat
        tensors.append(tensor)
    head["outputs"] = tensors
    text = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join([text, *blocks]), len(text)) if blocks else (text, None)


def told_id(asked: str | None, found: str) -> dict[str, Any]:
    """ID and parameters of an answer, as an object of JSON.

    Args:
        asked: what the client calls its request; None where it does not say.
        found: what its predictions are known by, to which labels are given.
    """
    if asked is None or asked == found:
        return {"id": found}
    return {"id": asked, "parameters": {PREDICTION_ID: found}}


def read_object(body: bytes) -> dict[str, Any]:
    """The object in a JSON body.

    Raises:
        InvalidRequestError: it is no JSON, or none of an object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequestError(f"the body is a JSON object, not a {type(value).__name__}")
    return value


def request_id(request: Mapping[str, Any]) -> str | None:
    """What the client calls its request; None where it does not say.

    Raises:
        InvalidRequestError: it is no text, or a long one.
    """
    found = request.get("id")
    if found is None or found == "":
        return None
    if not isinstance(found, str) or len(found) > MAX_ID_LENGTH:
        raise InvalidRequestError(f"id is a text of {MAX_ID_LENGTH} characters at most, not {found!r:.80}")
    return found


def event_time(found: Any) -> datetime | None:
    """The moment that a request names as its predictions' event time; None where it names none.

    Raises:
        InvalidRequestError: it is no moment with a time zone, or none that is kept in nanoseconds.
    """
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(_no_moment(found)) from error
    if moment.tzinfo is None or not EARLIEST < moment < LATEST:
        raise InvalidRequestError(_no_moment(found))
    return moment


def _no_moment(found: Any) -> str:
    return (
        "event_timestamp is a moment as RFC 3339 writes it, with its time zone, such as "
        f"2026-01-31T12:00:00Z, of the years 1678 to 2261, not {found!r:.80}"
    )


def _inputs(tensors: Any, binary: memoryview, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    if not isinstance(tensors, list) or not tensors:
        raise InvalidRequestError("inputs is a list with a tensor for each input of the model")
    by_name = {spec.name: spec for spec in specs}
    arrays: dict[str, Array] = {}
    start = 0
    for tensor in tensors:
        name = tensor.get("name") if isinstance(tensor, dict) else None
        spec = by_name.get(name) if isinstance(name, str) else None
        if spec is None:
            known = suggestion(str(name), by_name)
            raise InvalidRequestError(f'the model reads no input "{str(name)[:80]}": {known}')
        if spec.name in arrays:
            raise InvalidRequestError(f'input "{name}" is there twice')
        if tensor.get("datatype") != spec.datatype:
            raise InvalidRequestError(
                f'input "{name}" is {spec.datatype}, not {tensor.get("datatype")!r:.40}'
            )
        shape = spec.check_shape(tensor.get("shape"))
        size = _parameters(tensor, f'input "{name}"').get(BINARY_SIZE)
        if size is None:
            array = array_of_json(spec, shape, tensor.get("data"))
        else:
            array = array_of_bytes(spec, shape, _block(spec, binary, start, size))
            start += size
        refuse_no_numbers(spec, array)
        arrays[spec.name] = array
    missing = [spec.name for spec in specs if spec.name not in arrays]
    if missing:
        raise InvalidRequestError(f"the model also reads the inputs {', '.join(missing)}")
    if start != len(binary):
        raise InvalidRequestError(f"{len(binary) - start} bytes after the last binary tensor belong to none")
    return arrays


def _block(spec: TensorSpec, binary: memoryview, start: int, size: Any) -> memoryview:
    if type(size) is not int or size < 0 or start + size > len(binary):
        raise InvalidRequestError(
            f'input "{spec.name}": {BINARY_SIZE} is {size!r:.40}, and {len(binary) - start} bytes follow'
        )
    return binary[start : start + size]


def _wanted(
    asked: Any, parameters: Mapping[str, Any], specs: Sequence[TensorSpec]
) -> Sequence[tuple[str, bool]]:
    by_default = parameters.get("binary_data_output") is True
    if asked is None or asked == []:
        return [(spec.name, by_default) for spec in specs]
    if not isinstance(asked, list):
        raise InvalidRequestError("outputs is a list of the outputs to answer")
    names = [spec.name for spec in specs]
    wanted: dict[str, bool] = {}
    for output in asked:
        name = output.get("name") if isinstance(output, dict) else None
        if name not in names:
            raise InvalidRequestError(
                f'the model answers no output "{str(name)[:80]}": {suggestion(str(name), names)}'
            )
        own = _parameters(output, f'output "{name}"')
        if own.get("classification"):
            raise InvalidRequestError(f'output "{name}": the classification extension is not offered')
        wanted[name] = own.get("binary_data", by_default) is True
    return list(wanted.items())


def _parameters(holder: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    found = holder.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidRequestError(f"parameters of {where} is an object")
    return found
