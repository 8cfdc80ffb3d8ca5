"""A cluster and an MLflow in memory with an operator that may be killed, and what others do to them."""

import asyncio
import contextlib
from datetime import datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any

import httpx
from unit.operator.simulation.api_server import Api, ended
from unit.operator.simulation.faults import Faults, Killed
from unit.operator.simulation.mlflow_store import RemoteStore, Store
from unit.operator.simulation.operator_life import Monitors, OperatorLife, Work

from mlinfra.kube import ApiError
from mlinfra.kube.resource import JOBS
from mlinfra.tracking.contract import MODEL_TAG
from mlinfra_operator.runtime.mlflow_calls import end_run
from mlinfra_operator.runtime.work_queue import Retry
from mlinfra_operator.trainingjob.first_status import LONGEST_UNTOLD_SECONDS

Object = dict[str, Any]
SETTLE_ROUNDS = 40


class Simulation:
    """All that is around the operator, and the operator's present life."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.faults = Faults()
        self.api = Api(self.faults, lambda: self.now)
        self.store = Store()
        self.remote = RemoteStore(self.store, self.faults)
        self.monitors = Monitors()
        self._loop = asyncio.new_event_loop()
        self._lives: list[OperatorLife] = []
        self.restart()

    def close(self) -> None:
        self._loop.close()

    def restart(self) -> None:
        """The operator is killed, and another one starts."""
        self.operator = OperatorLife(self.api, self.remote, self.monitors, lambda: self.now)
        self._lives.append(self.operator)

    def wake(self, number: int) -> None:
        """An earlier operator was only frozen: it looks at all policies as it knew them, and ends."""
        life = self._lives[number % len(self._lives)]
        for kind, key in life.work():
            if kind == "policy":
                self._reconcile((kind, key), life)

    def work(self, order: Random, *, fault: str, countdown: int, after: bool) -> None:
        """The operator looks at everything once.

        Args:
            order: in which it looks.
            fault: ``none``; ``lost``, where a request fails; ``killed``, where the operator dies at one.
            countdown: so many requests go well first.
            after: whether the request that fails was carried out all the same.
        """
        work = self.operator.work()
        # Hypothesis may end the test with any draw: no fault may be armed by then.
        order.shuffle(work)
        if fault != "none":
            self.faults.countdown, self.faults.after = countdown, after
            self.faults.error = Killed if fault == "killed" else None
        try:
            for each in work:
                self._reconcile(each)
        except Killed:
            self.restart()
        finally:
            self.faults.clear()

    def settle(self) -> None:
        """Nothing fails any more, and the operator works until it writes nothing.

        Raises:
            AssertionError: it does not come to rest.
        """
        self.remote.away = False
        for _ in range(SETTLE_ROUNDS):
            self.api.collect_garbage()
            self.now += timedelta(seconds=LONGEST_UNTOLD_SECONDS)
            before = self.faults.writes
            self.operator.deliver()
            again = [self._reconcile(each) for each in self.operator.work()]
            for finish in self.operator.finishes:
                self._loop.run_until_complete(self.remote.call(end_run, finish.run_id, finish.status))
            self.operator.finishes.clear()
            if self.faults.writes == before:
                assert 0.0 not in again, "it asks to be looked at again at once, and writes nothing"
                return
        raise AssertionError(f"writes went on for {SETTLE_ROUNDS} rounds")

    def _reconcile(self, work: Work, life: OperatorLife | None = None) -> float | None:
        # The work queue tries again after these.
        with contextlib.suppress(Retry, httpx.HTTPError, ApiError):
            return self._loop.run_until_complete((life or self.operator).reconcile(*work))
        return None

    def training(self, name: str, step: str, accuracy: float) -> None:
        """The pods of a Job start, complete or fail."""
        job = self.api.objects.get(("jobs", name))
        if job is None or ended(job) or job["spec"].get("suspend"):
            return
        condition = {"status": "True", "reason": "BackoffLimitExceeded", "message": ""}
        match step:
            case "training starts":
                status: Object = {"active": 1, "ready": 1}
            case "training completes":
                status = {"succeeded": 1, "conditions": [condition | {"type": "Complete"}]}
                self._log_model(job, accuracy)
            case _:
                status = {"failed": 1, "conditions": [condition | {"type": "Failed"}]}
        self.api.change(JOBS, name, {"status": status}, "controller", spec=False)

    def _log_model(self, job: Object, accuracy: float) -> None:
        container = job["spec"]["template"]["spec"]["containers"][0]
        run_id = next(item["value"] for item in container["env"] if item["name"] == "MLFLOW_RUN_ID")
        for earlier in self.store.logged.values():
            if earlier.source_run_id == run_id:
                # As the tracker does: of a run the newest model is the result.
                earlier.tags[MODEL_TAG] = "false"
        number = f"m-{len(self.store.logged)}"
        self.store.logged[number] = SimpleNamespace(
            model_id=number,
            name=number,
            source_run_id=run_id,
            status=SimpleNamespace(value="READY"),
            tags={MODEL_TAG: "true"},
        )
        self.store.runs[run_id].data.metrics["test_accuracy"] = accuracy
