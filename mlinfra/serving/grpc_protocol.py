"""Requests and answers of inference over gRPC: the same checks as those of HTTP.

A request becomes the object that a body of JSON would hold, with the bytes of its tensors after it as in the
binary extension; so both say the same of the same mistake.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlinfra.serving.errors import InvalidRequestError
from mlinfra.serving.infer_protocol import BINARY_SIZE, InferRequest, checked_request
from mlinfra.serving.open_inference import open_inference_pb2 as messages
from mlinfra.serving.tensors import Array, TensorSpec, bytes_of_array

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field that holds the values of each datatype; FP16 has none."""


def decode_message(
    message: messages.ModelInferRequest, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> InferRequest:
    """Read and check a request.

    Args:
        message: as it came.
        inputs, outputs: what the model reads and answers.

    Raises:
        RequestError: it is not what the protocol and the model's schema ask for.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequestError(
            f"raw_input_contents has {len(raw)} blocks, and the request has {len(message.inputs)} inputs"
        )
    blocks: list[bytes | None] = list(raw) or [None] * len(message.inputs)
    request = {
        "id": message.id,
        "parameters": _values(message.parameters),
        "inputs": [_tensor(*each) for each in zip(message.inputs, blocks, strict=True)],
        "outputs": [{"name": each.name, "parameters": _values(each.parameters)} for each in message.outputs],
    }
    binary = raw[0] if len(raw) == 1 else b"".join(raw)
    return checked_request(request, memoryview(binary), inputs, outputs)


def encode_message(
    name: str,
    version: str,
    told: Mapping[str, Any],
    outputs: Sequence[TensorSpec],
    arrays: Sequence[Array],
    wanted: Sequence[tuple[str, bool]],
    *,
    raw: bool,
) -> messages.ModelInferResponse:
    """An answer.

    Args:
        name, version: the model's.
        told: ID, and parameters that are texts; see `told_id`.
        outputs: what the model answers.
        arrays: array of each.
        wanted: as of `InferRequest`.
        raw: whether the values are given as bytes; of a datatype that has no field all are.
    """
    answer = messages.ModelInferResponse(model_name=name, model_version=version, id=told["id"])
    for parameter, text in told.get("parameters", {}).items():
        answer.parameters[parameter].string_param = text
    by_name = {spec.name: (spec, array) for spec, array in zip(outputs, arrays, strict=True)}
    chosen = [by_name[name] for name, _ in wanted]
    raw = raw or any(spec.datatype not in CONTENTS for spec, _ in chosen)
    for spec, array in chosen:
        tensor = answer.outputs.add(name=spec.name, datatype=spec.datatype, shape=array.shape)
        if raw:
            answer.raw_output_contents.append(bytes_of_array(array))
        else:
            values = np.ravel(array).tolist()
            if spec.datatype == "BYTES":
                values = [each if isinstance(each, bytes) else str(each).encode() for each in values]
            getattr(tensor.contents, CONTENTS[spec.datatype]).extend(values)
    return answer


def _tensor(tensor: messages.ModelInferRequest.InferInputTensor, block: bytes | None) -> dict[str, Any]:
    """The tensor as JSON has it; with the size of its bytes where they follow."""
    told: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "parameters": _values(tensor.parameters),
    }
    if block is None:
        return told | {"data": _contents(tensor)}
    if tensor.HasField("contents"):
        raise InvalidRequestError(f'input "{tensor.name}" has contents beside raw_input_contents')
    told["parameters"][BINARY_SIZE] = len(block)
    return told


def _contents(tensor: messages.ModelInferRequest.InferInputTensor) -> list[Any]:
    """The values of a tensor.

    Raises:
        InvalidRequestError: they are in the field of another datatype, or a text is damaged.
    """
    field = CONTENTS.get(tensor.datatype)
    filled = [descriptor.name for descriptor, _ in tensor.contents.ListFields()]
    if field is None and tensor.datatype == "FP16":
        raise InvalidRequestError(f'input "{tensor.name}" is FP16, which raw_input_contents alone can hold')
    if field is None:
        return []
    if any(name != field for name in filled):
        raise InvalidRequestError(
            f'input "{tensor.name}" is {tensor.datatype}: its values belong into {field}, not into '
            f"{' and '.join(name for name in filled if name != field)}"
        )
    values = list(getattr(tensor.contents, field))
    if field != "bytes_contents":
        return values
    try:
        return [str(each, "utf-8") for each in values]
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f'input "{tensor.name}": a text is damaged: {error}') from error


def _values(parameters: Mapping[str, messages.InferParameter]) -> dict[str, Any]:
    found = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        # BINARY_SIZE tells of bytes in a body of HTTP; here each block of bytes has its own end.
        if choice is not None and name != BINARY_SIZE:
            found[name] = getattr(parameter, choice)
    return found
