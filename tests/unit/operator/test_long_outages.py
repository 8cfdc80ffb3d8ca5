"""However long MLflow is away, up to an hour: nothing is given up, and work goes on soon after its return.

The real work queue with its real delays, the real controllers and finisher, on a clock that jumps.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from unit.operator.simulation.api_server import NAMESPACE
from unit.operator.simulation.simulation import Simulation
from unit.operator.simulation.virtual_time import run_at_once

from mlinfra.kube.resource import JOBS, MODEL_VERSIONS, TRAINING_JOBS
from mlinfra_operator.runtime.finisher import RunFinisher
from mlinfra_operator.runtime.work_queue import Backoff, WorkQueue
from mlinfra_operator.tracking import Finish

Object = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3600.0
RESUMED_SECONDS = Backoff().longest + 5.0
"""So long after MLflow's return all is done that waited for it: one delay, and what follows from it."""
WATCH_SECONDS = 0.5
KINDS = {TRAINING_JOBS.plural: "job", JOBS.plural: "job", MODEL_VERSIONS.plural: "version"}
Key = tuple[str, str, str]


class Cluster:
    """The operator's work queue before an API server and an MLflow in memory."""

    def __init__(self) -> None:
        self.simulation = Simulation(START)
        self.api, self.store = self.simulation.api, self.simulation.store
        self._operator = self.simulation.operator
        self._seen: dict[tuple[str, str], str] = {}
        self._finisher = RunFinisher(
            self.simulation.remote,  # type: ignore[arg-type]  # the part that is used
            self._operator.jobs,
            lambda _: None,
            cluster_uid=None,
            namespace=None,
        )
        self._queue: WorkQueue[Key] = WorkQueue(self._reconcile)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run(4))
            group.create_task(self._watch())

    def away(self, *, away: bool) -> None:
        self.simulation.remote.away = away

    def apply(self, name: str) -> None:
        spec = {"modelName": name, "image": "image", "promotion": {"gates": []}}
        body = {"apiVersion": TRAINING_JOBS.api_version, "kind": "TrainingJob", "spec": spec}
        self.api.put(TRAINING_JOBS, body | {"metadata": {"name": name}}, "user")

    def delete(self, name: str) -> None:
        del self.api.objects["trainingjobs", name]

    def archive(self, name: str) -> None:
        self.api.change(MODEL_VERSIONS, f"{name}-1", {"spec": {"stage": "Archived"}}, "user")

    def condition(self, plural: str, name: str) -> tuple[str, str]:
        """Phase, and what the condition Reconciling gives as its reason."""
        status = self.api.objects[plural, name]["status"]
        told = {each["type"]: each["reason"] for each in status["conditions"]}
        return status["phase"], told["Reconciling"]

    def run_status(self, name: str) -> list[str]:
        """The status of each run of a TrainingJob."""
        runs = self.store.runs.values()
        return [run.info.status for run in runs if run.info.experiment_id == name]

    async def _reconcile(self, key: Key) -> float | None:
        self._now()
        kind, first, second = key
        if kind == "run":
            await self._finisher.end(Finish(first, second))  # type: ignore[arg-type]  # a final status
            return None
        try:
            return await self._operator.reconcile(kind, (first, second))
        finally:
            for finish in self._operator.finishes:
                self._queue.add(("run", finish.run_id, finish.status))
            self._operator.finishes.clear()

    async def _watch(self) -> None:
        """Tell the operator of each change, as watches do."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.api.collect_garbage()
            versions = {key: obj["metadata"]["resourceVersion"] for key, obj in self.api.objects.items()}
            if versions == self._seen:
                continue
            changed = {key for key, version in versions.items() if self._seen.get(key) != version}
            self._seen = versions
            self._now()
            self._operator.deliver()
            for plural, name in changed:
                self._queue.add((KINDS[plural], NAMESPACE, name))

    def _now(self) -> None:
        self.simulation.now = START + timedelta(seconds=asyncio.get_running_loop().time())


@given(seconds=st.floats(1.0, HOUR))
@example(seconds=600.0)
@example(seconds=HOUR)
@settings(max_examples=5, deadline=None)
def test_work_waits_for_mlflow_and_goes_on_soon_after_its_return(seconds: float) -> None:
    run_at_once(outage_of(seconds))


async def outage_of(seconds: float) -> None:
    cluster = Cluster()
    working = asyncio.create_task(cluster.run())
    try:
        for name in ("served", "done", "failed", "deleted"):
            cluster.apply(name)
        await asyncio.sleep(40)
        for name in ("served", "done", "failed", "deleted"):
            cluster.simulation.training(name, "training starts", 0.9)
        cluster.simulation.training("served", "training completes", 0.9)
        await asyncio.sleep(40)
        assert cluster.condition("modelversions", "served-1")[0] == "Production"

        cluster.away(away=True)
        cluster.apply("new")
        cluster.simulation.training("done", "training completes", 0.9)
        cluster.simulation.training("failed", "training fails", 0.9)
        cluster.delete("deleted")
        cluster.archive("served")
        await asyncio.sleep(seconds)
        assert cluster.condition("trainingjobs", "new") == ("Pending", "MLflowUnavailable")
        assert cluster.condition("trainingjobs", "done") == ("Registering", "MLflowUnavailable")
        assert cluster.condition("modelversions", "served-1") == ("Production", "MLflowUnavailable")

        cluster.away(away=False)
        await asyncio.sleep(RESUMED_SECONDS)
        assert ("jobs", "new") in cluster.api.objects
        assert cluster.condition("trainingjobs", "done")[0] == "Succeeded"
        assert cluster.condition("modelversions", "done-1")[0] == "Production"
        assert cluster.condition("modelversions", "served-1")[0] == "Archived"
        assert cluster.store.in_production("served") == []
        assert cluster.store.in_production("done") == ["1"]
        ends = {name: cluster.run_status(name) for name in ("new", "done", "failed", "deleted", "served")}
        assert ends == {
            "new": ["RUNNING"],
            "done": ["FINISHED"],
            "failed": ["FAILED"],
            "deleted": ["KILLED"],
            "served": ["FINISHED"],
        }
    finally:
        working.cancel()
        await asyncio.wait([working])
        cluster.simulation.close()
