"""The first status of a TrainingJob waits for its pod; nothing that it would have told is lost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from unit.operator.simulation.simulation import Simulation

from mlinfra.kube.resource import JOBS, TRAINING_JOBS
from mlinfra_operator.trainingjob.first_status import FEW, LONGEST_UNTOLD_SECONDS, UNTOLD_SECONDS

MANY = 100


@pytest.fixture
def cluster() -> Iterator[Simulation]:
    simulation = Simulation(datetime(2026, 1, 1, tzinfo=UTC))
    yield simulation
    simulation.close()


def apply(cluster: Simulation, *names: str, **spec: Any) -> None:
    for name in names:
        body: dict[str, Any] = {"apiVersion": TRAINING_JOBS.api_version, "kind": "TrainingJob"}
        body |= {"metadata": {"name": name}, "spec": {"modelName": "model", "image": "image", **spec}}
        cluster.api.put(TRAINING_JOBS, body, "user")
    cluster.operator.deliver()


def look(cluster: Simulation, *, seconds: float = 0.0) -> None:
    cluster.now += timedelta(seconds=seconds)
    cluster.work(Random(0), fault="none", countdown=0, after=False)
    cluster.operator.deliver()


def status(cluster: Simulation) -> dict[str, Any]:
    (obj,) = cluster.api.of(TRAINING_JOBS)
    return dict(obj.get("status") or {})


def told(cluster: Simulation) -> list[str]:
    return [obj["metadata"]["name"] for obj in cluster.api.of(TRAINING_JOBS) if obj.get("status")]


def test_a_job_is_created_at_once_and_its_status_is_told_a_second_later(cluster: Simulation) -> None:
    apply(cluster, "a")
    look(cluster)
    assert (len(cluster.api.of(JOBS)), told(cluster)) == (1, [])
    look(cluster, seconds=UNTOLD_SECONDS / 2)
    assert told(cluster) == []
    look(cluster, seconds=UNTOLD_SECONDS / 2)
    assert told(cluster) == ["a"]


def test_of_many_none_is_told_of_before_nearly_all_have_a_pod(cluster: Simulation) -> None:
    names = [f"job-{number}" for number in range(MANY)]
    apply(cluster, *names)
    look(cluster)
    for name in names[FEW + 1 :]:
        cluster.training(name, "training starts", 0.9)
    cluster.operator.deliver()
    look(cluster, seconds=UNTOLD_SECONDS)
    assert told(cluster) == []
    cluster.training(names[0], "training starts", 0.9)
    cluster.operator.deliver()
    for _ in range(2):
        look(cluster, seconds=UNTOLD_SECONDS)
    assert len(told(cluster)) == MANY


def test_among_many_a_failure_is_told_at_once_and_the_deleted_hold_nobody_up(
    cluster: Simulation,
) -> None:
    names = [f"job-{number}" for number in range(FEW + 2)]
    apply(cluster, *names)
    look(cluster)
    cluster.training(names[0], "training fails", 0.0)
    cluster.operator.deliver()
    look(cluster)
    assert told(cluster) == names[:1]
    for name in names[1:3]:
        cluster.api.objects["trainingjobs", name]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        cluster.api.change(TRAINING_JOBS, name, {"metadata": {"annotations": {"a": "b"}}}, "user")
    cluster.operator.deliver()
    look(cluster)
    look(cluster, seconds=UNTOLD_SECONDS)
    assert told(cluster) == [names[0], *names[3:]]


def test_pods_that_do_not_come_keep_no_status_for_long(cluster: Simulation) -> None:
    apply(cluster, *(f"job-{number}" for number in range(MANY)))
    look(cluster)
    look(cluster, seconds=UNTOLD_SECONDS)
    assert told(cluster) == []
    look(cluster, seconds=LONGEST_UNTOLD_SECONDS - UNTOLD_SECONDS)
    assert len(told(cluster)) == MANY
    apply(cluster, "another")
    look(cluster)
    look(cluster, seconds=UNTOLD_SECONDS)
    assert "another" in told(cluster)


def test_the_run_of_one_that_is_deleted_before_its_status_told_of_it_ends(cluster: Simulation) -> None:
    apply(cluster, "a")
    look(cluster)
    del cluster.api.objects["trainingjobs", "a"]
    cluster.operator.deliver()
    cluster.settle()
    assert [run.info.status for run in cluster.store.runs.values()] == ["KILLED"]


def test_a_queued_one_tells_of_its_run_which_ends_with_it(cluster: Simulation) -> None:
    apply(cluster, "a", queue={"name": "team"})
    look(cluster)
    look(cluster, seconds=UNTOLD_SECONDS)
    assert (status(cluster)["phase"], status(cluster)["mlflow"]["runID"]) == ("Queued", "run-0")
    del cluster.api.objects["trainingjobs", "a"]
    cluster.operator.deliver()
    cluster.settle()
    assert [run.info.status for run in cluster.store.runs.values()] == ["KILLED"]


@pytest.mark.parametrize("step", ["training fails", "training completes"])
def test_one_that_ended_before_another_operator_looked_at_it_tells_of_its_run(
    cluster: Simulation, step: str
) -> None:
    apply(cluster, "a")
    look(cluster)
    cluster.training("a", step, 0.9)
    cluster.restart()
    look(cluster)
    assert status(cluster)["mlflow"]["runID"] == "run-0"


def test_a_spec_that_changes_meanwhile_is_looked_at_at_once(cluster: Simulation) -> None:
    apply(cluster, "a")
    look(cluster)
    cluster.api.change(TRAINING_JOBS, "a", {"spec": {"suspend": True}}, "user")
    cluster.operator.deliver()
    look(cluster)
    assert "deletionTimestamp" in cluster.api.of(JOBS)[0]["metadata"]


def test_a_clock_that_is_set_back_puts_nothing_off(cluster: Simulation) -> None:
    apply(cluster, "a")
    look(cluster)
    look(cluster, seconds=-3600)
    assert told(cluster) == ["a"]


def test_the_start_is_when_the_pod_was_seen_not_when_it_was_told(cluster: Simulation) -> None:
    apply(cluster, "a")
    look(cluster)
    cluster.training("a", "training starts", 0.9)
    cluster.operator.deliver()
    look(cluster, seconds=UNTOLD_SECONDS / 2)
    look(cluster, seconds=10)
    assert status(cluster)["startTime"] == "2026-01-01T00:00:00Z"
