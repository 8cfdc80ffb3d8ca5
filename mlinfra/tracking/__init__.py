"""MLflow: runs, metrics, registry, stages and aliases.

Importing this package loads neither MLflow nor any numeric library: the operator uses parts of it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlinfra.tracking.tracker import MlflowTracker

__all__ = ["get_mlflow_tracker"]


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
