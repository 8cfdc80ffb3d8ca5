"""MLflow's errors become ours: away for now, or refused for good; passwords stay out of messages."""

import json

import pytest
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import ErrorCode
from mlflow.utils.rest_utils import verify_rest_response
from requests import Response

from mlinfra.tracking.connection import persistently, translated_errors, without_password
from mlinfra.tracking.errors import TrackingRefusedError, TrackingUnavailableError


def lost_connection() -> MlflowException:
    try:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as error:
            raise MlflowException(
                "API request to http://mlflow:5000/api failed with exception ..."
            ) from error
    except MlflowException as error:
        return error


def test_lost_connection_names_address_and_cause() -> None:
    with (
        pytest.raises(TrackingUnavailableError) as caught,
        translated_errors("http://me:secret@mlflow:5000"),
    ):
        raise lost_connection()
    assert "MLflow does not answer at http://mlflow:5000: [Errno 111] Connection refused." in str(
        caught.value
    )
    assert "secret" not in str(caught.value)


def answer(code: str) -> RestException:
    return RestException({"error_code": code, "message": "told"})  # type: ignore[no-untyped-call]  # MLflow's


@pytest.mark.parametrize("code", ["INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"])
def test_trouble_of_the_server_may_pass(code: str) -> None:
    with pytest.raises(TrackingUnavailableError), translated_errors("http://mlflow"):
        raise answer(code)


@pytest.mark.parametrize("code", ["RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED"])
def test_a_refusal_is_final(code: str) -> None:
    with pytest.raises(TrackingRefusedError, match=f"refuses: {code}"), translated_errors("http://mlflow"):
        raise answer(code)


def answered(status: int, text: str) -> None:
    """What MLflow's client makes of an answer."""
    response = Response()
    response.status_code, response._content = status, text.encode()
    verify_rest_response(response, "/api/2.0/mlflow/runs/get")  # type: ignore[no-untyped-call]  # MLflow's


HTML = "<html><body>no such host</body></html>"


@pytest.mark.parametrize("text", [HTML, "default backend - 404", "", "null", "{}", '{"message": "no route"}'])
@pytest.mark.parametrize("status", [400, 404, 405, 408, 409, 410, 421, 429, 499, 500, 502, 503, 504])
def test_the_page_of_a_proxy_is_no_refusal(status: int, text: str) -> None:
    with pytest.raises(TrackingUnavailableError), translated_errors("http://mlflow"):
        answered(status, text)


@pytest.mark.parametrize("code", ["ENDPOINT_NOT_FOUND", "404", 404, "400", "409", "NotFound"])
def test_a_code_that_is_not_of_what_was_asked_for_is_no_refusal(code: str | int) -> None:
    with pytest.raises(TrackingUnavailableError), translated_errors("http://mlflow"):
        answered(404, json.dumps({"error_code": code, "message": "no route"}))


def test_a_page_in_place_of_an_answer_is_none() -> None:
    with pytest.raises(TrackingUnavailableError), translated_errors("http://mlflow"):
        answered(200, HTML)


@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not_log_in_is_told(status: int) -> None:
    with pytest.raises(TrackingRefusedError), translated_errors("http://mlflow"):
        answered(status, HTML)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "RESOURCE_DOES_NOT_EXIST"),
        (400, "RESOURCE_ALREADY_EXISTS"),
        (400, "INVALID_PARAMETER_VALUE"),
        (400, "BAD_REQUEST"),
        (409, "RESOURCE_CONFLICT"),
    ],
)
def test_what_mlflow_says_itself_is_a_refusal(status: int, code: str) -> None:
    with pytest.raises(TrackingRefusedError, match=code), translated_errors("http://mlflow"):
        answered(status, json.dumps({"error_code": code, "message": "told"}))


@pytest.mark.parametrize(
    "code", ["RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE"]
)
def test_a_local_store_refuses_as_well(code: str) -> None:
    with pytest.raises(TrackingRefusedError), translated_errors("sqlite:///mlflow.db"):
        raise MlflowException("told", error_code=ErrorCode.Value(code))


def test_a_call_is_tried_until_it_succeeds() -> None:
    answers = iter([TrackingUnavailableError("away"), TrackingUnavailableError("away"), None])
    waited: list[float] = []

    def call() -> str:
        if (error := next(answers)) is not None:
            raise error
        return "done"

    assert persistently(call, timeout=60, sleep=waited.append) == "done"
    assert waited == [0.5, 1.0]


def test_a_call_is_given_up_after_its_time() -> None:
    def call() -> None:
        raise TrackingUnavailableError("away")

    with pytest.raises(TrackingUnavailableError):
        persistently(call, timeout=0.0, sleep=lambda _: None)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("https://user:pw@mlflow/path", "https://mlflow/path"),
        ("postgresql://user:p@w@db:5432/mlflow", "postgresql://db:5432/mlflow"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
    ],
)
def test_shown_uris_hold_no_password(uri: str, shown: str) -> None:
    assert without_password(uri) == shown
