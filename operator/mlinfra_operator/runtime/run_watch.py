"""Follows all active runs with one query a second; less often where their number makes it a long one."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from mlinfra.tracking.errors import TrackingRefusedError, TrackingUnavailableError
from mlinfra_operator.runtime.cache import Key
from mlinfra_operator.runtime.mlflow_calls import running_runs
from mlinfra_operator.runtime.mlflow_registry import Mlflow
from mlinfra_operator.tracking import Run, reread

POLL_SECONDS = 1.0
POLLING_SHARE = 0.1
"""Of the time at most: an answer about thousands of runs takes MLflow and the operator seconds."""
AWAY_SECONDS = 5.0
"""Between polls while MLflow does not answer."""

logger = logging.getLogger(__name__)


def pause_after(poll: float) -> float:
    """Seconds until the next poll after one that took so many."""
    return max(POLL_SECONDS, poll / POLLING_SHARE - poll)


@dataclass(slots=True)
class Followed:
    """A run, and the TrainingJob that it belongs to."""

    key: Key
    run: Run


class RunWatch:
    """Knows the latest state of every followed run; nothing is asked while none is followed.

    Args:
        mlflow: the MLflow server.
        on_change: called with namespace and name of the TrainingJob whose run changed.
    """

    def __init__(self, mlflow: Mlflow, on_change: Callable[[str, str], None]) -> None:
        self._mlflow = mlflow
        self._notify = on_change
        self._followed: dict[str, Followed] = {}
        self._any = asyncio.Event()
        self._away = False

    def get(self, run_id: str) -> Run | None:
        """The run as it was last seen, where it is followed."""
        followed = self._followed.get(run_id)
        return followed.run if followed else None

    def follow(self, key: Key, run: Run) -> None:
        """Follow a run from now on."""
        self._followed[run.run_id] = Followed(key, run)
        self._any.set()

    def leave(self, run_id: str) -> None:
        """Follow the run no longer."""
        self._followed.pop(run_id, None)
        if not self._followed:
            self._any.clear()

    async def run(self) -> None:
        """Poll until cancelled."""
        pause = POLL_SECONDS
        while True:
            await self._any.wait()
            await asyncio.sleep(pause)
            began = time.monotonic()
            await self._poll()
            pause = AWAY_SECONDS if self._away else pause_after(time.monotonic() - began)

    async def _poll(self) -> None:
        experiments = sorted({followed.run.experiment_id for followed in self._followed.values()})
        try:
            runs = await self._mlflow.call(running_runs, experiments)
        except (TrackingUnavailableError, TrackingRefusedError) as error:
            if not self._away:
                logger.warning("progress of trainings is not known: %s", error)
            self._away = True
            return
        if self._away:
            logger.info("MLflow answers again")
        self._away = False
        for found in runs:
            followed = self._followed.get(found.run_id)
            if followed is None:
                continue
            run = reread(followed.run, found)
            if followed.run != run:
                followed.run = run
                self._notify(*followed.key)
