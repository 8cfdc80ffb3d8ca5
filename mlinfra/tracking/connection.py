"""Connects to MLflow, and turns its errors into ours: away for now, or refused for good."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit

from mlinfra.tracking.errors import TrackingRefusedError, TrackingUnavailableError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

CLIENT_DEFAULTS = {
    # Its own retries, 7 with 2 minutes each, would hang a start for a quarter of an hour and say nothing.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
CLIENT_ERRORS = range(400, 500)
TOO_MANY_REQUESTS = 429
LOGIN_REFUSED = (401, 403)
NO_ENDPOINT = "ENDPOINT_NOT_FOUND"
FIRST_RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 5.0


def connect(tracking_uri: str | None = None) -> "MlflowClient":
    """A client of the MLflow that ``tracking_uri`` names, else MLFLOW_TRACKING_URI, else MLflow's default.

    Raises:
        TrackingUnavailableError: MLflow does not answer; said within seconds.
    """
    for name, value in CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow

    uri = tracking_uri or mlflow.get_tracking_uri()
    try:
        with translated_errors(uri):
            client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
            client.search_experiments(max_results=1)
    except OSError as error:
        raise TrackingUnavailableError(
            f"MLflow's store {without_password(uri)} cannot be opened: {first_line(error)} "
            "Set MLFLOW_TRACKING_URI to another."
        ) from error
    return client


@contextmanager
def translated_errors(uri: str) -> Iterator[None]:
    """Raise MLflow's errors as TrackingUnavailableError or TrackingRefusedError, naming ``uri``.

    Refused is what MLflow itself refuses in its own words, and a login; all else may pass.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if is_login_refused(error) or _is_refusal(error):
            raise TrackingRefusedError(
                f"MLflow at {without_password(uri)} refuses: {first_line(error)}"
            ) from error
        raise TrackingUnavailableError(
            f"MLflow does not answer at {without_password(uri)}: {first_line(root_cause(error))} "
            "Start it, or set MLFLOW_TRACKING_URI to where it runs."
        ) from error


def is_login_refused(error: "MlflowException") -> bool:
    """Whether MLflow, or what stands before it, lets us not in."""
    return _http_status(error) in LOGIN_REFUSED


def _is_refusal(error: "MlflowException") -> bool:
    """Whether MLflow itself refuses: a proxy before an MLflow that is away answers with a page of its own."""
    from mlflow.exceptions import RestException, get_error_code
    from mlflow.protos.databricks_pb2 import ErrorCode

    code, status = error.error_code, _http_status(error)
    if status not in CLIENT_ERRORS or status == TOO_MANY_REQUESTS or code == NO_ENDPOINT:
        return False
    if isinstance(error, RestException):
        # Of an answer without a code of MLflow's the client makes one up.
        return bool(error.json.get("error_code") == code)
    # So it does of a page that is no JSON, from its status alone; a local store raises its own codes.
    return bool(code != ErrorCode.Name(get_error_code(status)))  # type: ignore[no-untyped-call]  # MLflow types it not


def _http_status(error: "MlflowException") -> int:
    return int(error.get_http_status_code())  # type: ignore[no-untyped-call]  # MLflow types it not


def persistently(
    call: Callable[[], Result], *, timeout: float, sleep: Callable[[float], None] = time.sleep
) -> Result:
    """Call until MLflow answers, for at most about ``timeout`` seconds; a wait is told of once.

    Raises:
        TrackingUnavailableError: MLflow was away for all that time.
    """
    deadline = time.monotonic() + timeout
    delay, told = FIRST_RETRY_SECONDS, False
    while True:
        try:
            return call()
        except TrackingUnavailableError as error:
            if time.monotonic() + delay > deadline:
                raise
            if not told:
                logger.warning("%s Tried again for %.0f s.", error, timeout)
            told = True
            sleep(delay)
            delay = min(2 * delay, MAX_RETRY_SECONDS)


def without_password(uri: str) -> str:
    """The URI as it may be shown: without user and password."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def lasting_uri(uri: str) -> str:
    """The URI as it may be kept: without a password, and the same from any working folder."""
    for prefix in ("sqlite:///", "file://"):
        path = uri.removeprefix(prefix)
        if path != uri and path and not Path(path).is_absolute():
            return f"{prefix}{Path(path).absolute()}"
    return without_password(uri)


def root_cause(error: BaseException) -> BaseException:
    """The error at the end of a chain: what the network said, without each layer's wrapping."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, as a sentence."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if line.endswith(".") else f"{line}."
