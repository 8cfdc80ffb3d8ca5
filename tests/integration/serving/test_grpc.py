"""The Open Inference Protocol over gRPC, as Triton's public client speaks it, unchanged, and by hand."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from integration.serving.conftest import Start
from servers.model_server import ModelServer, learnt_metadata, linear_model
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from mlinfra.features import FeatureStore
from mlinfra.serving.open_inference import open_inference_pb2 as messages

INFER = "/inference.GRPCInferenceService/ModelInfer"
REST = "/v2/models/adder/infer"
LONGEST_SECONDS = 60.0


def start(start_server: Start, model: Path, **environment: str) -> tuple[ModelServer, str]:
    """A server that also answers gRPC, and where."""
    server = start_server(
        wait_until_ready=False,
        MLINFRA_SERVED_MODEL=str(model),
        MLINFRA_SERVING_GRPC_PORT="0",
        **environment,
    )
    address = server.said("listening on grpc://").rpartition("/")[2]
    server.said("ready: ")
    return server, address


@pytest.fixture
def adder_both(start_server: Start, tmp_path: Path) -> tuple[ModelServer, str]:
    return start(start_server, linear_model(tmp_path / "adder.onnx"), MLINFRA_SERVING_MAX_BODY_BYTES="65536")


@pytest.fixture
def triton(adder_both: tuple[ModelServer, str]) -> Iterator[InferenceServerClient]:
    client = InferenceServerClient(adder_both[1])
    yield client
    client.close()


def tensor(values: Any) -> InferInput:
    array = np.array(values, np.float32)
    given = InferInput("features", list(array.shape), "FP32")
    given.set_data_from_numpy(array)
    return given


def typed(*values: float, **more: Any) -> messages.ModelInferRequest:
    message = messages.ModelInferRequest(model_name="adder", **more)
    given = message.inputs.add(name="features", datatype="FP32", shape=[1, len(values)])
    given.contents.fp32_contents.extend(values)
    return message


def asked(channel: grpc.Channel, message: messages.ModelInferRequest, **more: Any) -> Any:
    call = channel.unary_unary(
        INFER,
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=messages.ModelInferResponse.FromString,
    )
    return call(message, timeout=30, **more)


def refused(error: pytest.ExceptionInfo[grpc.RpcError]) -> tuple[grpc.StatusCode, str]:
    return error.value.code(), dict(error.value.trailing_metadata())["reason"]


def test_triton_client_finds_server_and_model(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("adder")
    assert triton.is_model_ready("adder", "1")
    assert triton.get_server_metadata().name == "mlinfra"
    model = triton.get_model_metadata("adder")
    (given,), (answered,) = model.inputs, model.outputs
    assert (given.name, given.datatype, list(given.shape)) == ("features", "FP32", [-1, 3])
    assert (answered.name, answered.datatype, list(answered.shape)) == ("value", "FP32", [-1, 1])


def test_triton_client_gets_answers(triton: InferenceServerClient) -> None:
    given = [tensor([[1, 2, 3], [4, 5, 6.5]])]
    for outputs in (None, [InferRequestedOutput("value")]):
        answer = triton.infer("adder", given, model_version="1", outputs=outputs, request_id="mine")
        assert answer.as_numpy("value").tolist() == [[6.0], [15.5]]
        assert (answer.get_response().id, answer.get_response().model_version) == ("mine", "1")


def test_triton_client_is_told_what_is_wrong(
    triton: InferenceServerClient, adder_both: tuple[ModelServer, str]
) -> None:
    bad = [1.0, 2.0]
    body = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 2], "data": bad}]}
    told = httpx.post(adder_both[0].url + REST, json=body).json()["error"]
    for ask, status, message in (
        (lambda: triton.infer("adder", [tensor([bad])]), "INVALID_ARGUMENT", told),
        (lambda: triton.infer("adder", [tensor([[1, np.nan, 1]])]), "INVALID_ARGUMENT", "is NaN in 1 of 3"),
        (lambda: triton.infer("other", [tensor([[1, 1, 1]])]), "NOT_FOUND", 'not "other"'),
        (lambda: triton.is_model_ready("adder", "7"), "NOT_FOUND", "this server serves version 1"),
        (lambda: triton.infer("adder", [tensor(np.zeros((9999, 3)))]), "RESOURCE_EXHAUSTED", "larger than"),
    ):
        with pytest.raises(InferenceServerException) as error:
            ask()
        assert error.value.status() == f"StatusCode.{status}"
        assert message in error.value.message()


def test_typed_contents_are_answered_in_kind(adder_both: tuple[ModelServer, str]) -> None:
    server, address = adder_both
    with grpc.insecure_channel(address) as channel:
        first, second = (asked(channel, typed(1, 2, 3)) for _ in range(2))
        with pytest.raises(grpc.RpcError) as error:
            asked(channel, typed(1, 2, 3, model_version="7"))
    (output,) = first.outputs
    assert (output.name, list(output.shape), list(output.contents.fp32_contents)) == ("value", [1, 1], [6.0])
    assert not first.raw_output_contents
    assert first.id
    assert first.id != second.id
    assert refused(error) == (grpc.StatusCode.NOT_FOUND, "UnknownModel")
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'mlinfra_serving_requests_total{code="OK",route="grpc:ModelInfer"} 2.0' in metrics
    assert 'mlinfra_serving_requests_total{code="NOT_FOUND",route="grpc:ModelInfer"} 1.0' in metrics


def test_bytes_that_are_no_message_are_told(adder_both: tuple[ModelServer, str]) -> None:
    with grpc.insecure_channel(adder_both[1]) as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(INFER)(b"\xff" * 50, timeout=LONGEST_SECONDS)
    assert refused(error) == (grpc.StatusCode.INVALID_ARGUMENT, "InvalidRequest")
    assert "no inference.ModelInferRequest" in error.value.details()


def test_what_is_asked_is_logged_with_its_moment(start_server: Start, tmp_path: Path) -> None:
    model = linear_model(
        tmp_path / "adder.onnx", features=2, window=1, metadata=learnt_metadata(["open", "close"])
    )
    store = FeatureStore(tmp_path / "log")
    server, address = start(
        start_server,
        model,
        MLINFRA_PREDICTION_LOG_URI=str(store.root),
        MLINFRA_SERVING_LOG_SECONDS="0.1",
    )
    message = typed(1, 2, id="mine")
    message.inputs[0].shape[:] = [1, 1, 2]
    message.parameters["event_timestamp"].string_param = "2026-01-05T10:00:00+01:00"
    with grpc.insecure_channel(address) as channel:
        assert not asked(channel, message).parameters
        message.inputs[0].contents.fp32_contents[:] = [3, 4]
        other = asked(channel, message)
    assert other.id == "mine"
    body = [{"id": "mine", "label": 3.0}]
    answer = httpx.post(f"{server.url}/v2/models/adder/feedback", json=body, timeout=30)
    assert answer.json()["accepted"] == 1
    assert server.stop() == 0
    row, more = store.read_offline_features("predictions_adder").to_dict("records")
    assert (more["prediction_id"], more["open"]) == (other.parameters["prediction_id"].string_param, 3)
    assert (row["prediction_id"], row["open"], row["close"], row["prediction"]) == ("mine", 1, 2, 3)
    assert row["event_timestamp"].isoformat() == "2026-01-05T09:00:00+00:00"


def test_a_token_is_asked_for_but_of_health(start_server: Start, tmp_path: Path) -> None:
    _, address = start(
        start_server, linear_model(tmp_path / "adder.onnx"), MLINFRA_SERVING_TOKEN="long enough"
    )
    with grpc.insecure_channel(address) as channel:
        for metadata in ((), (("authorization", "Bearer other"),)):
            with pytest.raises(grpc.RpcError) as error:
                asked(channel, typed(1, 2, 3), metadata=metadata)
            assert refused(error) == (grpc.StatusCode.UNAUTHENTICATED, "Unauthorized")
        answer = asked(channel, typed(1, 2, 3), metadata=(("authorization", "Bearer long enough"),))
        assert list(answer.outputs[0].contents.fp32_contents) == [6.0]
    client = InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    client.close()


def test_connections_end_and_no_call_fails(start_server: Start, tmp_path: Path) -> None:
    _, address = start(
        start_server, linear_model(tmp_path / "adder.onnx"), MLINFRA_SERVING_CONNECTION_SECONDS="0.3"
    )
    changes = 0
    with grpc.insecure_channel(address) as channel:

        def changed(state: grpc.ChannelConnectivity) -> None:
            nonlocal changes
            changes += state is grpc.ChannelConnectivity.READY

        channel.subscribe(changed)
        deadline = time.monotonic() + LONGEST_SECONDS
        while changes < 4 and time.monotonic() < deadline:
            assert list(asked(channel, typed(1, 2, 3)).outputs[0].contents.fp32_contents) == [6.0]
    assert changes >= 4


def test_sigterm_ends_in_order_and_then_nobody_answers(start_server: Start, tmp_path: Path) -> None:
    server, address = start(
        start_server, linear_model(tmp_path / "adder.onnx"), MLINFRA_SERVING_DRAIN_SECONDS="0.5"
    )
    answered, status = 0, None
    with grpc.insecure_channel(address) as channel:
        asked(channel, typed(1, 2, 3))
        assert server.process is not None
        server.process.terminate()
        deadline = time.monotonic() + LONGEST_SECONDS
        while status is None and time.monotonic() < deadline:
            try:
                asked(channel, typed(1, 2, 3))
                answered += 1
            except grpc.RpcError as error:
                status = error.code()
    # gRPC itself gives up, as cancelled, the call that arrives just when it stops to take calls.
    assert status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert answered > 0
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as error:
        asked(channel, typed(1, 2, 3))
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert server.ended() == 0


def test_a_port_that_is_taken_is_told(start_server: Start, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = start_server(
            wait_until_ready=False,
            MLINFRA_SERVED_MODEL=str(linear_model(tmp_path / "adder.onnx")),
            MLINFRA_SERVING_GRPC_PORT=str(port),
        )
        assert f"port {port} of 127.0.0.1 cannot be listened on" in server.said("error: ")
        assert server.ended() == 1
