"""MLflow off the event loop: bounded threads, short timeouts, and our own errors."""

import os
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from mlinfra.tracking.connection import (
    CLIENT_DEFAULTS,
    is_login_refused,
    translated_errors,
    without_password,
)
from mlinfra.tracking.errors import TrackingRefusedError, TrackingUnavailableError
from mlinfra_operator.runtime.threads import BoundedThreads

if TYPE_CHECKING:
    from mlflow import MlflowClient

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

THREADS = 8
CALL_TIMEOUT_SECONDS = 60.0
CLIENT_SETTINGS = {
    **CLIENT_DEFAULTS,
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
"""The work queue retries, and looks first what a lost answer has left: MLflow's client would send what
creates a run or a version a second time."""


class Mlflow:
    """One MLflow server.

    Args:
        tracking_uri: its address.
    """

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri
        self._threads = BoundedThreads(THREADS, timeout=CALL_TIMEOUT_SECONDS)

    async def warm_up(self) -> None:
        """Import MLflow's client, which takes a second, before anything waits for it."""
        await self._threads.run(lambda: self._client)

    async def call(
        self,
        function: "Callable[Concatenate[MlflowClient, Arguments], Result]",
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call one of the functions of `mlinfra_operator.runtime.mlflow_calls`.

        Raises:
            TrackingUnavailableError: MLflow does not answer, or the operator may not log in now.
            TrackingRefusedError: MLflow refuses.
        """

        def translated() -> Result:
            from mlflow.exceptions import MlflowException

            try:
                with translated_errors(self.tracking_uri):
                    return function(self._client, *args, **kwargs)
            except TrackingRefusedError as error:
                cause = error.__cause__
                if isinstance(cause, MlflowException) and is_login_refused(cause):
                    # Credentials can be put right: no reason to give a training up.
                    raise TrackingUnavailableError(str(error)) from error
                raise

        try:
            return await self._threads.run(translated)
        except TimeoutError as error:
            raise TrackingUnavailableError(
                f"MLflow does not answer at {without_password(self.tracking_uri)} "
                f"within {CALL_TIMEOUT_SECONDS:.0f} s."
            ) from error

    def run_url(self, experiment_id: str, run_id: str) -> str:
        """The run's page in the MLflow UI."""
        return f"{without_password(self.tracking_uri)}/#/experiments/{experiment_id}/runs/{run_id}"

    async def aclose(self, patience: float) -> bool:
        """Start no further calls, wait so many seconds for those that run; whether none does any more."""
        return await self._threads.shutdown(patience)

    @cached_property
    def _client(self) -> "MlflowClient":
        for name, value in CLIENT_SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
