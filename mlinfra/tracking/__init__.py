"""MLflow: runs, metrics, comparison of runs, registry, stages and aliases.

Importing this package loads neither MLflow nor any numeric library: the operator uses parts of it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlinfra.tracking.comparison import RunComparison
    from mlinfra.tracking.tracker import MlflowTracker

__all__ = ["compare_runs", "get_mlflow_tracker"]


def get_mlflow_tracker(
    tracking_uri: str | None = None, *, experiment_name: str | None = None
) -> "MlflowTracker":
    """A tracker of the MLflow that ``tracking_uri``, else MLFLOW_TRACKING_URI, names.

    Where neither is given it is MLflow's own local store, ``sqlite:///mlflow.db`` in the working folder.

    Args:
        tracking_uri: where MLflow runs.
        experiment_name: experiment of new runs; MLFLOW_EXPERIMENT_NAME, else "Default", where absent.

    Raises:
        TrackingUnavailableError: MLflow does not answer.
    """
    from mlinfra.tracking.tracker import MlflowTracker

    return MlflowTracker(tracking_uri, experiment_name=experiment_name)


def compare_runs(
    run_ids: Sequence[str] | None = None,
    *,
    experiment: str | None = None,
    model: str | None = None,
    metrics: Sequence[str] | None = None,
    params: Sequence[str] | None = None,
    max_runs: int = 20,
    tracking_uri: str | None = None,
) -> "RunComparison":
    """Compare runs, as a table and as a plot; see `mlinfra.tracking.comparison.compare_runs`."""
    from mlinfra.tracking import comparison

    return comparison.compare_runs(
        run_ids,
        experiment=experiment,
        model=model,
        metrics=metrics,
        params=params,
        max_runs=max_runs,
        tracking_uri=tracking_uri,
    )
