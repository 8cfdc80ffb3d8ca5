"""The first status of a TrainingJob waits for its pod; nothing that it would have told is lost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from unit.operator.simulation.simulation import Simulation

from mlinfra.kube.resource import JOBS, TRAINING_JOBS
from mlinfra_operator.trainingjob.controller import LONGEST_UNTOLD_SECONDS, UNTOLD_SECONDS

MANY = 1000


@pytest.fixture
def cluster() -> Iterator[Simulation]:
    simulation = Simulation(datetime(2026, 1, 1, tzinfo=UTC))
    yield simulation
    simulation.close()


def apply(cluster: Simulation, *names: str) -> None:
    for name in names:
        body: dict[str, Any] = {"apiVersion": TRAINING_JOBS.api_version, "kind": "TrainingJob"}
        body |= {"metadata": {"name": name}, "spec": {"modelName": "model", "image": "image"}}
        cluster.api.put(TRAINING_JOBS, body, "user")
    cluster.operator.deliver()


def look(cluster: Simulation, *, seconds: float = 0.0) -> None:
    cluster.now += timedelta(seconds=seconds)
    cluster.work(Random(0), fault="none", countdown=0, after=False)
    cluster.operator.deliver()


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


def test_of_many_each_is_told_of_within_a_few_seconds(cluster: Simulation) -> None:
    apply(cluster, *(f"job-{number}" for number in range(MANY)))
    look(cluster)
    look(cluster, seconds=UNTOLD_SECONDS)
    assert 0 < len(told(cluster)) < MANY
    look(cluster, seconds=LONGEST_UNTOLD_SECONDS)
    assert len(told(cluster)) == MANY


def test_the_run_of_one_that_is_deleted_before_its_status_told_of_it_ends(cluster: Simulation) -> None:
    apply(cluster, "a")
    look(cluster)
    del cluster.api.objects["trainingjobs", "a"]
    cluster.operator.deliver()
    cluster.settle()
    assert [run.info.status for run in cluster.store.runs.values()] == ["KILLED"]
