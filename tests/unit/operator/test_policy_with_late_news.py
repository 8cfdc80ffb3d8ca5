"""An operator that knows less than there is starts nothing by it: watches are late, and answers are lost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from unit.operator.simulation.simulation import Simulation

from mlinfra.kube.resource import RETRAINING_POLICIES, TRAINING_JOBS
from mlinfra.resources.names import RETRAIN_ANNOTATION, TRIGGER_ANNOTATION

Object = dict[str, Any]
NAME = "nightly"
SPEC: Object = {
    "modelName": "model",
    "trainingJobTemplate": {"spec": {"modelName": "model", "image": "image"}},
    "schedule": "0 * * * *",
    "concurrencyPolicy": "Forbid",
    "successfulJobsHistoryLimit": 0,
}


@pytest.fixture
def cluster() -> Iterator[Simulation]:
    """A policy that is due at each full hour, at rest."""
    simulation = Simulation(datetime(2026, 3, 28, 20, 30, tzinfo=UTC))
    body = {"apiVersion": RETRAINING_POLICIES.api_version, "kind": "RetrainingPolicy", "spec": SPEC}
    simulation.api.put(RETRAINING_POLICIES, body | {"metadata": {"name": NAME}}, "user")
    simulation.settle()
    yield simulation
    simulation.close()


def ask(cluster: Simulation, value: str) -> None:
    patch = {"metadata": {"annotations": {RETRAIN_ANNOTATION: value}}}
    cluster.api.change(RETRAINING_POLICIES, NAME, patch, "user")


def trainings(cluster: Simulation) -> list[Object]:
    return cluster.api.of(TRAINING_JOBS)


def works(cluster: Simulation, *, fault: str = "none", countdown: int = 0) -> None:
    cluster.work(Random(0), fault=fault, countdown=countdown, after=True)


def test_a_training_whose_creation_got_no_answer_keeps_others_waiting(cluster: Simulation) -> None:
    cluster.now += timedelta(hours=1)
    # The two questions before it are answered, and the creation itself is carried out.
    works(cluster, fault="lost", countdown=2)
    assert [job["metadata"]["annotations"][TRIGGER_ANNOTATION] for job in trainings(cluster)] == ["scheduled"]
    ask(cluster, "now")
    cluster.operator.deliver(RETRAINING_POLICIES.plural)
    works(cluster)
    assert len(trainings(cluster)) == 1
    cluster.settle()
    told = cluster.api.of(RETRAINING_POLICIES)[0]["status"]["conditions"]
    assert ("Ready", "TrainingActive") in [(each["type"], each["reason"]) for each in told]


def test_a_frozen_operator_that_wakes_does_not_train_again_what_another_one_has(cluster: Simulation) -> None:
    ask(cluster, "now")
    cluster.operator.deliver()
    frozen = cluster.operator
    cluster.restart()
    cluster.settle()
    (job,) = trainings(cluster)
    cluster.training(job["metadata"]["name"], "training completes", accuracy=0.9)
    cluster.settle()
    # History limits: nothing is left of it but what the status tells.
    assert trainings(cluster) == []
    cluster.operator = frozen
    works(cluster)
    assert trainings(cluster) == []
    cluster.settle()
    assert trainings(cluster) == []
