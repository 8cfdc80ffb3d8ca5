"""An operator that knows less than there is starts nothing by it: watches are late, and answers are lost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from unit.operator.simulation.simulation import Simulation

from mlinfra.kube.resource import MODEL_VERSIONS, RETRAINING_POLICIES, TRAINING_JOBS
from mlinfra.resources.names import RETRAIN_ANNOTATION, TRIGGER_ANNOTATION
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, Request, RetrainingTrigger
from mlinfra_operator.conditions import timestamp
from mlinfra_operator.retrainingpolicy.builder import training_job_name
from mlinfra_operator.retrainingpolicy.checks import Checked

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


def test_a_name_that_is_taken_keeps_the_schedule_from_nothing(cluster: Simulation) -> None:
    # As a policy of the same name has left it that was deleted without its trainings.
    name = training_job_name(NAME, Request(RetrainingTrigger.MANUAL, "once", ""))
    spec = SPEC["trainingJobTemplate"]["spec"]
    cluster.api.put(TRAINING_JOBS, {"metadata": {"name": name}, "spec": spec}, "user")
    ask(cluster, "once")
    cluster.settle()
    assert [job["metadata"]["name"] for job in trainings(cluster)] == [name]
    cluster.now += timedelta(hours=1)
    cluster.settle()
    triggers = [job["metadata"].get("annotations", {}).get(TRIGGER_ANNOTATION) for job in trainings(cluster)]
    assert triggers == [None, "scheduled"]


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


class Rolling:
    """A policy whose version 2 is on trial and does worse; what the operator knows of it is of then."""

    def __init__(self, cluster: Simulation) -> None:
        self.cluster, self.api = cluster, cluster.api
        for number, stage in (("1", "Archived"), ("2", "Production"), ("3", "None")):
            self.version(number, stage)
        self.settle_versions("2", previous="1")
        patch = {"spec": {"performance": {}, "rollback": {}, "schedule": None}}
        self.api.change(RETRAINING_POLICIES, NAME, patch, "user")
        now = timestamp(cluster.now)
        baseline = {"trigger": "performance", "outcome": "ok", "metric": "accuracy", "score": "0.9"}
        trial = {"version": "2", "previous": "1", "since": now, "until": "2030-01-01T00:00:00Z"}
        status = {
            "productionVersion": "2",
            "trial": trial | {"baseline": baseline | {"windowEnd": now, "modelVersion": "1"}},
        }
        self.api.change(RETRAINING_POLICIES, NAME, {"status": status}, "operator", spec=False)
        worse = MonitorResult(
            RetrainingTrigger.PERFORMANCE,
            MonitorOutcome.OK,
            cluster.now,
            0.5,
            metric="accuracy",
            model_version="2",
        )
        cluster.monitors.said = Checked(cluster.now, (worse,))
        cluster.operator.deliver()

    def version(self, number: str, stage: str) -> None:
        source = {"retrainingPolicy": NAME}
        spec = {"modelName": "model", "version": number, "stage": stage, "source": source}
        body = {"apiVersion": MODEL_VERSIONS.api_version, "kind": "ModelVersion", "spec": spec}
        self.api.put(MODEL_VERSIONS, body | {"metadata": {"name": f"model-{number}"}}, "user")

    def settle_versions(self, current: str, *, previous: str) -> None:
        for number, phase in ((previous, "Archived"), (current, "Production")):
            came = [{"stage": "Production", "time": f"2026-03-28T0{number}:00:00Z"}]
            status: Object = {"phase": phase, "history": came, "observedGeneration": 1}
            if number == current:
                status["productionClaimedAt"] = f"2026-03-28T0{number}:00:00.000000Z"
            self.api.change(MODEL_VERSIONS, f"model-{number}", {"status": status}, "operator", spec=False)

    def promote(self, number: str) -> None:
        patch = {"spec": {"stage": "Production"}}
        self.api.change(MODEL_VERSIONS, f"model-{number}", patch, "user")

    def policy_works(self) -> None:
        self.cluster._reconcile(("policy", ("team", NAME)))

    def stages(self) -> dict[str, str]:
        return {obj["spec"]["version"]: obj["spec"]["stage"] for obj in self.api.of(MODEL_VERSIONS)}


def test_a_worse_version_is_rolled_back(cluster: Simulation) -> None:
    rolling = Rolling(cluster)
    rolling.policy_works()
    assert rolling.stages() == {"1": "Production", "2": "Archived", "3": "None"}


@pytest.mark.parametrize("claimed", [False, True])
def test_a_person_who_promotes_another_version_meanwhile_is_not_overruled(
    cluster: Simulation, claimed: bool
) -> None:
    rolling = Rolling(cluster)
    rolling.promote("3")
    if claimed:
        status = {"phase": "Production", "productionClaimedAt": "2026-03-28T09:00:00.000000Z"}
        status |= {"observedGeneration": 2}  # type: ignore[dict-item]
        rolling.api.change(MODEL_VERSIONS, "model-3", {"status": status}, "operator", spec=False)
    rolling.policy_works()
    assert rolling.stages() == {"1": "Archived", "2": "Production", "3": "Production"}


def test_what_a_person_changes_between_the_decision_and_the_rollback_stays(cluster: Simulation) -> None:
    rolling = Rolling(cluster)
    asked = rolling.api.list

    async def list_then_change(resource: Any, *args: Any, **options: Any) -> Any:
        found = await asked(resource, *args, **options)
        if resource == MODEL_VERSIONS:
            rolling.api.change(MODEL_VERSIONS, "model-1", {"spec": {"stage": "Staging"}}, "user")
        return found

    rolling.api.list = list_then_change  # type: ignore[method-assign]
    rolling.policy_works()
    assert rolling.stages() == {"1": "Staging", "2": "Production", "3": "None"}
