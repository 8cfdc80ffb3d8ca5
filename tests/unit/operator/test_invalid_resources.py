"""Objects that the operator's models cannot read: they say so, and hold up no other."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from unit.operator.objects import NOW, NOW_TEXT

from mlinfra.kube.resource import MODEL_VERSIONS, RETRAINING_POLICIES, TRAINING_JOBS
from mlinfra.resources import ModelVersion, RetrainingPolicy, TrainingJob
from mlinfra_operator.modelversion.claims import Claim, claim_timestamp, stored_claim
from mlinfra_operator.runtime.invalid import invalid_status, read

Object = dict[str, Any]
TEMPLATE = {"spec": {"modelName": "model", "image": "image"}}
SPECS: dict[str, tuple[type[BaseModel], Object]] = {
    TRAINING_JOBS.kind: (TrainingJob, {"modelName": "model", "image": "image"}),
    MODEL_VERSIONS.kind: (ModelVersion, {"modelName": "model", "version": "1"}),
    RETRAINING_POLICIES.kind: (RetrainingPolicy, {"modelName": "model", "trainingJobTemplate": TEMPLATE}),
}


def obj(kind: str, status: Object | None = None, **newer: Any) -> Object:
    metadata = {"name": "x", "namespace": "team", "uid": "u", "generation": 3}
    return {"kind": kind, "metadata": metadata, "spec": SPECS[kind][1] | newer, "status": status or {}}


@pytest.mark.parametrize("kind", list(SPECS))
def test_only_what_can_be_read_is(kind: str) -> None:
    model, _ = SPECS[kind]
    assert isinstance(read(model, obj(kind)), model)
    assert read(model, obj(kind, ofTheFuture=True)) is None


@pytest.mark.parametrize("kind", list(SPECS))
def test_the_status_of_what_cannot_be_read_is_stalled_and_a_status_that_can_be(kind: str) -> None:
    """kstatus counts it as failed then: neither current nor in progress."""
    status = invalid_status(obj(kind, ofTheFuture=True), "spec.ofTheFuture: unknown", NOW)
    assert status["observedGeneration"] == 3
    told = {each["type"]: each for each in status["conditions"]}
    assert {name: each["status"] for name, each in told.items()} == {
        "Ready": "False",
        "Reconciling": "False",
        "Stalled": "True",
    }
    assert {each["reason"] for each in told.values()} == {"InvalidResource"}
    assert told["Stalled"]["message"] == "spec.ofTheFuture: unknown"
    assert isinstance(read(SPECS[kind][0], obj(kind, status)), SPECS[kind][0])


def test_what_the_status_said_before_stays() -> None:
    newer = {"type": "OfTheFuture", "status": "True", "reason": "New", "future": 1}
    ready = {"type": "Ready", "status": "False", "reason": "Old", "lastTransitionTime": NOW_TEXT, "future": 1}
    before = {"phase": "Production", "future": {"a": 1}, "conditions": [ready, newer]}
    status = invalid_status(obj("ModelVersion", before), "no", NOW + timedelta(hours=1))
    assert (status["phase"], status["future"]) == ("Production", {"a": 1})
    assert newer in status["conditions"]
    # It was not ready before, so that is when it ceased to be.
    (told,) = (each for each in status["conditions"] if each["type"] == "Ready")
    assert (told["reason"], told["lastTransitionTime"]) == ("InvalidResource", NOW_TEXT)
    again = invalid_status(obj("ModelVersion", status), "no", NOW + timedelta(hours=2))
    assert again == status


def test_a_claim_to_production_counts_whether_or_not_it_can_be_read() -> None:
    status = {"productionClaimedAt": claim_timestamp(NOW), "ofTheFuture": 1}
    unreadable = obj("ModelVersion", status, stage="Production", ofTheFuture=True)
    assert read(ModelVersion, unreadable) is None
    assert stored_claim(unreadable) == Claim("x", 1, NOW)
    assert stored_claim(obj("ModelVersion", status, stage="Archived")) is None
    assert stored_claim(obj("ModelVersion", stage="Production")) is None
