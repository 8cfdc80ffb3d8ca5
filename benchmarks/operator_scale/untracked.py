"""The operator with an MLflow that costs nothing, to measure what the operator itself does.

Usage: python -m benchmarks.operator_scale.untracked, with the environment of ``python -m mlinfra_operator``.
"""

import sys
import uuid
from collections.abc import Callable
from typing import Any

from mlinfra_operator import __main__ as program
from mlinfra_operator.runtime import mlflow_calls, operator
from mlinfra_operator.tracking import ModelOwner, Run


class NoMlflow:
    """Answers each of the operator's questions at once: every run is new, and none logs a model."""

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri

    async def warm_up(self) -> None:
        """Nothing to import."""

    async def aclose(self, patience: float) -> bool:
        """Nothing to end."""
        return True

    def run_url(self, experiment_id: str, run_id: str) -> str:
        """Where the run's page would be."""
        return f"{self.tracking_uri}/#/experiments/{experiment_id}/runs/{run_id}"

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What MLflow would answer."""
        return ANSWERS[function](*args, **kwargs)


def _run(run_id: str) -> Run:
    return Run(run_id, "1", "RUNNING")


ANSWERS: dict[Callable[..., Any], Callable[..., Any]] = {
    mlflow_calls.model_owner: lambda name: ModelOwner(None),
    mlflow_calls.ensure_run: lambda **_: _run(uuid.uuid4().hex),
    mlflow_calls.read_run: _run,
    mlflow_calls.running_runs: lambda experiments: [],
    mlflow_calls.running_runs_of_cluster: lambda uid: [],
    mlflow_calls.logged_models: lambda run: (),
    mlflow_calls.end_run: lambda run_id, status: True,
}


def main() -> int:
    """Run the operator so; its exit code."""
    operator.Mlflow = NoMlflow  # type: ignore[assignment,attr-defined]  # the part that is used
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
