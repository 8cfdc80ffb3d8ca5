"""A TrainingJob whose spec changes after its end: what is told of it, and whether it is deleted."""

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from unit.operator.objects import NOW, NOW_TEXT, UID
from unit.operator.simulation.simulation import Simulation

from mlinfra.kube.resource import TRAINING_JOBS
from mlinfra.resources import TrainingJob
from mlinfra_operator.trainingjob.actions import DeleteTrainingJob
from mlinfra_operator.trainingjob.end import after_the_end
from mlinfra_operator.trainingjob.end import ended as ended_of


def ended(phase: str, *, generation: int, **spec: Any) -> TrainingJob:
    """Told of when its generation was 1."""
    conditions = [
        {
            "type": type_,
            "status": "True",
            "reason": "Told",
            "message": "words",
            "lastTransitionTime": NOW_TEXT,
            "observedGeneration": 1,
        }
        for type_ in ("Ready", "Complete")
    ]
    status = {
        "phase": phase,
        "observedGeneration": 1,
        "completionTime": NOW_TEXT,
        "attempts": 3,
        "conditions": conditions,
    }
    metadata = {"name": "job", "namespace": "team", "uid": UID, "generation": generation}
    return TrainingJob.model_validate(
        {"metadata": metadata, "spec": {"modelName": "model", "image": "image", **spec}, "status": status}
    )


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
@pytest.mark.parametrize("spec", [{"ttlSecondsAfterFinished": 60}, {"suspend": True}, {}])
def test_a_change_after_the_end_is_told_of_as_seen_and_changes_nothing_else(
    phase: str, spec: dict[str, Any]
) -> None:
    job = ended(phase, generation=2, **spec)
    decided = after_the_end(job, NOW)
    assert (decided.actions, decided.events, decided.finish) == ((), (), None)
    told = decided.status.to_wire()
    generations = [told["observedGeneration"], *(each["observedGeneration"] for each in told["conditions"])]
    assert generations == [2, 2, 2]
    before = job.status.to_wire()
    for each in (told, before, *told["conditions"], *before["conditions"]):
        each.pop("observedGeneration")
    assert told == before


def test_what_is_told_already_is_told_no_more() -> None:
    job = ended("Failed", generation=1)
    assert after_the_end(job, NOW).status == job.status


def test_a_spec_that_cannot_be_read_any_more_keeps_no_ended_training() -> None:
    obj = ended("Failed", generation=2, ttlSecondsAfterFinished=60).model_dump(mode="json", by_alias=True)
    obj["spec"] = {"modelName": "model", "nodeSelector": {"bad key!": "x"}, "ttlSecondsAfterFinished": 60}
    job = ended_of(obj)
    assert job is not None
    left = after_the_end(job, NOW)
    assert (left.status.observed_generation, left.requeue_after) == (2, 60)
    assert after_the_end(job, NOW + timedelta(seconds=61)).actions == (DeleteTrainingJob(),)


@pytest.mark.parametrize("status", [{}, {"phase": "Running"}, {"phase": "Failed", "newer": "field"}])
def test_what_runs_or_tells_its_end_in_other_words_is_no_ended_training(status: dict[str, Any]) -> None:
    assert ended_of({"metadata": {"name": "job"}, "spec": {}, "status": status}) is None


@pytest.fixture
def cluster() -> Iterator[Simulation]:
    simulation = Simulation(NOW)
    yield simulation
    simulation.close()


@pytest.mark.parametrize("changed", [False, True])
def test_a_time_to_live_that_was_taken_away_unseen_deletes_nothing(
    cluster: Simulation, changed: bool
) -> None:
    spec = {"modelName": "model", "image": "image", "ttlSecondsAfterFinished": 7200}
    body = {"apiVersion": TRAINING_JOBS.api_version, "kind": "TrainingJob", "metadata": {"name": "a"}}
    cluster.api.put(TRAINING_JOBS, body | {"spec": spec}, "user")
    cluster.settle()
    cluster.training("a", "training fails", 0.0)
    cluster.settle()
    (job,) = cluster.api.of(TRAINING_JOBS)
    assert job["status"]["phase"] == "Failed"
    if changed:
        cluster.api.change(TRAINING_JOBS, "a", {"spec": {"ttlSecondsAfterFinished": None}}, "user")
    cluster.now += timedelta(seconds=7200)
    cluster.work(Random(0), fault="none", countdown=0, after=False)
    assert bool(cluster.api.of(TRAINING_JOBS)) == changed
    cluster.settle()
    left = cluster.api.of(TRAINING_JOBS)
    assert [each["status"]["observedGeneration"] for each in left] == ([2] if changed else [])
