"""The Open Inference Protocol, as Triton's public client speaks it and by hand."""

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from servers.model_server import ModelServer
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException


@pytest.fixture
def triton(adder: ModelServer) -> Iterator[InferenceServerClient]:
    client = InferenceServerClient(adder.url.removeprefix("http://"))
    yield client
    client.close()


def tensor(values: Any, *, binary: bool = True) -> InferInput:
    array = np.array(values, np.float32)
    given = InferInput("features", list(array.shape), "FP32")
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def test_triton_client_finds_server_and_model(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("adder")
    assert triton.is_model_ready("adder", "1")
    assert triton.get_server_metadata()["name"] == "mlinfra"
    model = triton.get_model_metadata("adder")
    assert model["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 3]}]
    assert model["outputs"] == [{"name": "value", "datatype": "FP32", "shape": [-1, 1]}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_triton_client_gets_answers_in_both_encodings(
    triton: InferenceServerClient, binary_in: bool, binary_out: bool | None
) -> None:
    wanted = None if binary_out is None else [InferRequestedOutput("value", binary_data=binary_out)]
    given = [tensor([[1, 2, 3], [4, 5, 6.5]], binary=binary_in)]
    answer = triton.infer("adder", given, outputs=wanted, request_id="mine")
    assert answer.as_numpy("value").tolist() == [[6.0], [15.5]]
    assert answer.get_response()["id"] == "mine"
    assert answer.get_response()["model_version"] == "1"


def test_triton_client_asks_for_a_version(triton: InferenceServerClient) -> None:
    assert triton.infer("adder", [tensor([[1, 1, 1]])], model_version="1").as_numpy("value").item() == 3
    with pytest.raises(InferenceServerException, match="this server serves version 1"):
        triton.infer("adder", [tensor([[1, 1, 1]])], model_version="7")


def test_triton_client_is_told_what_is_wrong(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match='serves the model "adder", not "other"'):
        triton.infer("other", [tensor([[1, 1, 1]])])
    with pytest.raises(InferenceServerException, match="is NaN in 1 of 3 values"):
        triton.infer("adder", [tensor([[1, np.nan, 1]])])
    with pytest.raises(InferenceServerException, match=r"has the shape \[1, 2\], and the model reads"):
        triton.infer("adder", [tensor([[1, 1]])])


def test_an_answer_names_model_version_and_an_id_of_its_own(adder: ModelServer) -> None:
    body = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 3], "data": [[1, 2, 3]]}]}
    with adder.client() as client:
        first, second = (client.post("/v2/models/adder/infer", json=body).json() for _ in range(2))
    assert first["outputs"] == [{"name": "value", "datatype": "FP32", "shape": [1, 1], "data": [6.0]}]
    assert (first["model_name"], first["model_version"]) == ("adder", "1")
    assert first["id"] != second["id"]


def test_metrics_tell_of_requests_and_of_the_model(adder: ModelServer) -> None:
    with adder.client() as client:
        client.post("/v2/models/adder/infer", content=b"{")
        text = client.get("/metrics").text
    assert 'mlinfra_serving_requests_total{code="400",route="infer"}' in text
    assert 'mlinfra_serving_model_info{digest="sha256:' in text
    assert "mlinfra_serving_queue_requests 0.0" in text
    assert "process_resident_memory_bytes" in text


def test_a_route_that_is_none_is_told(adder: ModelServer) -> None:
    assert httpx.get(f"{adder.url}/v1/models/adder").status_code == 404
    assert httpx.get(f"{adder.url}/v2/models/adder/infer").status_code == 405
