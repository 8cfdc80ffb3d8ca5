"""The messages of gRPC: generated from their definition, and the ones that public clients send."""

from typing import Any

import pytest
from tritonclient.grpc import service_pb2 as public

from mlinfra.serving.open_inference import open_inference_pb2 as ours
from mlinfra.serving.open_inference.generate import generated, stale

MESSAGES = sorted(ours.DESCRIPTOR.message_types_by_name)


def fields(message: Any) -> dict[str, tuple[int, int, bool]]:
    """Number, type and repetition of each field, of messages within it as well."""
    found = {
        field.name: (field.number, field.type, bool(field.is_repeated))
        for field in message.fields
        if message.full_name.endswith("Entry") or field.name != "properties"
    }
    for inner in message.nested_types:
        if inner.name != "PropertiesEntry":
            found |= {f"{inner.name}.{name}": what for name, what in fields(inner).items()}
    return found


def test_the_module_is_current() -> None:
    files = generated()
    assert sorted(files) == ["open_inference_pb2.py", "open_inference_pb2.pyi"]
    assert stale(files) == []


def test_a_stale_file_is_told() -> None:
    files = dict(generated())
    assert stale(files | {"open_inference_pb2.py": "other", "none.py": ""}) == [
        "open_inference_pb2.py",
        "none.py",
    ]


@pytest.mark.parametrize("name", MESSAGES)
def test_each_message_is_a_public_clients(name: str) -> None:
    theirs = public.DESCRIPTOR.message_types_by_name[name]
    assert fields(ours.DESCRIPTOR.message_types_by_name[name]) == fields(theirs)


def test_each_call_is_a_public_clients() -> None:
    (service,) = ours.DESCRIPTOR.services_by_name.values()
    theirs = public.DESCRIPTOR.services_by_name[service.name].methods_by_name
    assert service.full_name == "inference.GRPCInferenceService"
    for call in service.methods:
        assert call.input_type.full_name == theirs[call.name].input_type.full_name
        assert call.output_type.full_name == theirs[call.name].output_type.full_name
