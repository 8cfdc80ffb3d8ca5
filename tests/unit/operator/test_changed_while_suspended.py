"""A spec that was changed during a suspension of which the operator saw nothing."""

from typing import Any

import pytest
from unit.operator.objects import NOW, UID, child, run

from mlinfra.resources import TrainingJob
from mlinfra.resources.names import SPEC_STAMP_ANNOTATION
from mlinfra_operator.conditions import find
from mlinfra_operator.trainingjob.actions import DeleteChild
from mlinfra_operator.trainingjob.job_builder import PodDefaults, build_job
from mlinfra_operator.trainingjob.observed import Observed, child_job
from mlinfra_operator.trainingjob.plan import plan
from mlinfra_operator.trainingjob.stamp import is_outdated, stamp_of

DEFAULTS = PodDefaults(image="image", tracking_uri="http://mlflow")
CHANGES: list[dict[str, Any]] = [
    {"resourcesPerNode": {"limits": {"memory": "2Gi"}}},
    {"nodeSelector": {"size": "large"}},
    {"tolerations": [{"key": "spot", "operator": "Exists"}]},
    {"affinity": {"podAntiAffinity": {}}},
    {"backoffLimit": 5},
    {"activeDeadlineSeconds": 60},
]


def training_job(generation: int, **spec: Any) -> TrainingJob:
    metadata = {"name": "job", "namespace": "team", "uid": UID, "generation": generation}
    return TrainingJob.model_validate(
        {"metadata": metadata, "spec": {"modelName": "model", "image": "image", **spec}}
    )


def test_a_job_tells_of_which_spec_it_was_made() -> None:
    manifest = build_job(training_job(3), run_id="run-1", defaults=DEFAULTS)
    stamp = manifest["metadata"]["annotations"][SPEC_STAMP_ANNOTATION]
    assert stamp == stamp_of(training_job(3))
    manifest["metadata"]["uid"] = "job-uid"
    assert child_job(manifest).stamp == stamp
    assert SPEC_STAMP_ANNOTATION not in manifest["spec"]["template"]["metadata"].get("annotations", {})


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("facts", [{"active": 1, "ready": 1}, {"active": 1}, {}, {"held": True}], ids=str)
def test_the_job_of_another_spec_makes_room_for_a_new_one(
    change: dict[str, Any], facts: dict[str, Any]
) -> None:
    old, new = training_job(1), training_job(4, **change)
    made = child(stamp=stamp_of(old), **facts)
    assert plan(new, Observed(child=made, run=run()), NOW).actions == (DeleteChild("job-uid"),)
    deleted = child(stamp=stamp_of(old), deleting=True, **facts)
    decided = plan(new, Observed(child=deleted, run=run(), unready_since=NOW), NOW)
    assert decided.actions == ()
    found = find(decided.status.conditions, "Reconciling")
    assert found is not None
    assert found.reason == "SpecChanged"
    assert "SpecChanged" not in [event.reason for event in decided.events]


@pytest.mark.parametrize(
    ("stamp", "outdated"),
    [
        ("v1-3-0000000000000000", True),
        # Of the same generation, and of one that the operator has not been told of.
        ("v1-4-0000000000000000", False),
        ("v1-5-0000000000000000", False),
        ("v1-10-0000000000000000", False),
        # Of an operator that stamps otherwise, or not at all: no training ends by an upgrade.
        (None, False),
        ("3-0000000000000000", False),
        ("v2-3-0000000000000000", False),
        ("v1-3-00000000000000000000000000000000", False),
        ("", False),
        ("made by hand", False),
        (stamp_of(training_job(1, backoffLimit=5, ttlSecondsAfterFinished=9, suspend=True)), False),
    ],
)
def test_which_stamps_are_outdated(stamp: str | None, outdated: bool) -> None:
    job = training_job(4, backoffLimit=5)
    assert is_outdated(job, stamp) == outdated
    decided = plan(job, Observed(child=child(stamp=stamp, active=1, ready=1), run=run()), NOW)
    assert bool(decided.actions) == outdated


def test_the_format_of_a_stamp_changes_with_its_text() -> None:
    """Jobs that run bear these very stamps: whoever changes one of them has to raise stamp.FORMAT."""
    everything: dict[str, Any] = {name: value for change in CHANGES for name, value in change.items()}
    stamps = (stamp_of(training_job(1)), stamp_of(training_job(2, **everything)))
    assert stamps == ("v1-1-842e0b957c81fc4b", "v1-2-ed7b49cb24d635d7")


@pytest.mark.parametrize(
    ("empty", "absent"), [({"nodeSelector": {}}, {}), ({"tolerations": []}, {}), ({"affinity": {}}, {})]
)
def test_what_gives_pods_the_same_is_the_same(empty: dict[str, Any], absent: dict[str, Any]) -> None:
    assert not is_outdated(training_job(2, **empty), stamp_of(training_job(1, **absent)))


@pytest.mark.parametrize("facts", [{"complete": True}, {"failure": ("BackoffLimitExceeded", "")}], ids=str)
def test_what_has_ended_is_not_made_anew(facts: dict[str, Any]) -> None:
    seen = Observed(child=child(stamp="v1-1-0000000000000000", **facts), run=run())
    assert DeleteChild("job-uid") not in plan(training_job(4), seen, NOW).actions
