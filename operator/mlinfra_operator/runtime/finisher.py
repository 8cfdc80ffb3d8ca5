"""Ends MLflow runs whose TrainingJob came to its end, or is gone."""

import logging
from collections.abc import Callable

from mlinfra.tracking.contract import TRAINING_JOB_TAG, TRAINING_JOB_UID_TAG
from mlinfra.tracking.errors import TrackingRefusedError, TrackingUnavailableError
from mlinfra_operator.runtime import mlflow_calls
from mlinfra_operator.runtime.cache import ObjectCache
from mlinfra_operator.runtime.mlflow_registry import Mlflow
from mlinfra_operator.runtime.work_queue import Retry
from mlinfra_operator.tracking import END_OF_PHASE, Finish, Run

logger = logging.getLogger(__name__)


class RunFinisher:
    """Ends runs, and looks once after a start for those that nobody ended.

    Args:
        mlflow: the MLflow server.
        jobs: all TrainingJobs in scope.
        finish: called with each run that has to end.
        cluster_uid: whose runs are ours; without it none is looked for.
        namespace: the only namespace in scope; all of them where absent.
    """

    def __init__(
        self,
        mlflow: Mlflow,
        jobs: ObjectCache,
        finish: Callable[[Finish], None],
        *,
        cluster_uid: str | None,
        namespace: str | None,
    ) -> None:
        self._mlflow = mlflow
        self._jobs = jobs
        self._finish = finish
        self._cluster_uid = cluster_uid
        self._namespace = namespace

    async def end(self, finish: Finish) -> None:
        """End a run.

        Raises:
            Retry: MLflow does not answer.
        """
        try:
            if await self._mlflow.call(mlflow_calls.end_run, finish.run_id, finish.status):
                logger.info("run %s ended: %s", finish.run_id, finish.status)
        except TrackingUnavailableError as error:
            raise Retry from error
        except TrackingRefusedError as error:
            logger.warning("run %s is not ended: %s", finish.run_id, error)

    async def sweep(self) -> None:
        """End the runs of this cluster that still run although their TrainingJob does not.

        Raises:
            Retry: MLflow does not answer.
        """
        if self._cluster_uid is None:
            return
        try:
            runs = await self._mlflow.call(mlflow_calls.running_runs_of_cluster, self._cluster_uid)
        except TrackingUnavailableError as error:
            raise Retry from error
        phases = {obj["metadata"]["uid"]: (obj.get("status") or {}).get("phase", "") for obj in self._jobs}
        for run in runs:
            if self._in_scope(run) and (end := end_of(run, phases)) is not None:
                self._finish(end)

    def _in_scope(self, run: Run) -> bool:
        namespace = run.tags.get(TRAINING_JOB_TAG, "").partition("/")[0]
        return self._namespace is None or namespace == self._namespace


def end_of(run: Run, phases: dict[str, str]) -> Finish | None:
    """How a running run has to end, by the phases of TrainingJobs by UID; None where it may go on."""
    uid = run.tags.get(TRAINING_JOB_UID_TAG)
    if uid is None:
        return None
    if uid not in phases:
        return Finish(run.run_id, "KILLED")
    status = END_OF_PHASE.get(phases[uid])
    return Finish(run.run_id, status) if status else None
