"""The way back to Production, and the way out of it: at no moment no version is there."""

from datetime import timedelta
from typing import Any

import pytest
from unit.operator.objects import NOW, NOW_TEXT, model_version, registered, registry

from mlinfra.resources import ModelVersion
from mlinfra.resources.base import Condition
from mlinfra_operator.modelversion.actions import FollowStage, Plan
from mlinfra_operator.modelversion.claims import claim_timestamp
from mlinfra_operator.modelversion.observed import Observed
from mlinfra_operator.modelversion.plan import plan
from mlinfra_operator.modelversion.succession import FOR_GOOD, successors_of
from mlinfra_operator.tracking import MeasuredRun

CHALLENGER = {"metric": "test_accuracy", "minImprovement": 0.01}
GOOD = {"test_accuracy": 0.9}
IN_PRODUCTION = registered("1", "Production", aliases=("production",))
CLAIMED = {"phase": "Production", "productionClaimedAt": claim_timestamp(NOW - timedelta(hours=1))}
WAS_THERE = {"history": [{"stage": "Archived", "time": NOW_TEXT}, {"stage": "Production", "time": NOW_TEXT}]}


def known(*versions: Any, **facts: Any) -> Observed:
    run = MeasuredRun(facts.pop("metrics", GOOD), facts.pop("champion", None))
    return Observed(registry=registry(*versions), run=run, **facts)


def planned(observed: Observed, version: ModelVersion) -> Plan:
    return plan(version, observed, NOW)


def condition(told: Plan, type_: str) -> Condition:
    return next(found for found in told.status.conditions if found.type == type_)


@pytest.mark.parametrize(
    ("metrics", "champion"),
    [
        (GOOD, None),
        ({**GOOD, "champion_test_accuracy": 0.8}, "7"),
        ({**GOOD, "champion_test_accuracy": 0.95}, "7"),
        (GOOD, "7"),
        ({"champion_test_accuracy": 0.8}, "7"),
    ],
)
def test_a_version_that_was_in_production_is_not_compared_again(
    metrics: dict[str, float], champion: str | None
) -> None:
    versions = (registered("1", "Archived"), registered("2", "Production", aliases=("production",)))
    observed = known(*versions, metrics=metrics, champion=champion)
    back = model_version(stage="Production", challenger=CHALLENGER, status=WAS_THERE)
    assert planned(observed, back).actions == (FollowStage("Production", ("2",)),)
    there = known(IN_PRODUCTION, metrics=metrics, champion=champion)
    (result,) = planned(there, back).status.gates
    assert (result.outcome, result.reason) == ("Passed", None)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"gates": [{"metric": "test_accuracy", "min": 0.95}]}, "GatesFailed"),
        ({"approval": "PendingManualApproval"}, "PendingManualApproval"),
        ({"approval": "Rejected"}, "Rejected"),
    ],
)
def test_what_else_guards_production_holds_for_one_that_was_there(spec: dict[str, Any], reason: str) -> None:
    versions = (registered("1", "Archived"), registered("2", "Production", aliases=("production",)))
    back = model_version(stage="Production", challenger=CHALLENGER, status=WAS_THERE, **spec)
    decided = planned(known(*versions), back)
    assert decided.actions == ()
    assert condition(decided, "Ready").reason == reason


def other(stage: str = "Production", **status: Any) -> dict[str, Any]:
    """Another ModelVersion of the model, as the API server has it."""
    metadata = {"name": "model-2", "generation": 2}
    return {"metadata": metadata, "spec": {"stage": stage, "version": "2"}, "status": status}


BACK = {"observedGeneration": 2, **WAS_THERE}
KEPT_OUT = BACK | {"conditions": [{"type": "Ready", "status": "False", "message": "rejected"}]}
REFUSED = {"type": "Reconciling", "status": "True", "reason": "MLflowRefused"}
RECONCILING = BACK | {"conditions": [{"type": "Reconciling", "status": "True"}]}


@pytest.mark.parametrize(
    ("successor", "told"),
    [
        (other(), ""),
        (other(observedGeneration=1, phase="GatesFailed"), ""),
        (other(**RECONCILING), ""),
        (other(**KEPT_OUT), ", which is kept out: rejected"),
    ],
)
@pytest.mark.parametrize("stage", ["None", "Staging", "Archived"])
def test_a_version_stays_in_production_until_the_one_that_is_asked_for_is_there(
    stage: str, successor: dict[str, Any], told: str
) -> None:
    leaving = model_version(stage=stage, status=CLAIMED)
    decided = planned(known(IN_PRODUCTION, successors=successors_of([successor])), leaving)
    assert (decided.actions, decided.awaits_others) == ((), True)
    assert decided.status.phase == "Production"
    assert decided.status.production_claimed_at == CLAIMED["productionClaimedAt"]
    assert condition(decided, "Ready").message == f"stays in Production until model-2 is there{told}"


@pytest.mark.parametrize(
    "nobody",
    [
        other("Archived"),
        other("Staging", **BACK),
        other(phase="Production", **BACK),
        # It never was there, and may wait for better metrics for ever.
        other(observedGeneration=2, phase="GatesFailed"),
        other(observedGeneration=2, conditions=[REFUSED]),
        # They were there, and cannot come back by themselves.
        *(
            other(**BACK, conditions=[{"type": "Ready", "status": "False", "reason": reason}])
            for reason in sorted(FOR_GOOD)
        ),
    ],
)
def test_a_version_without_a_successor_leaves_production_at_once(nobody: dict[str, Any]) -> None:
    leaving = model_version(stage="Archived", status=CLAIMED)
    decided = planned(known(IN_PRODUCTION, successors=successors_of([nobody])), leaving)
    assert decided.actions == (FollowStage("Archived"),)


def test_others_are_asked_once_to_look_at_what_keeps_a_successor_out() -> None:
    observed = known(IN_PRODUCTION, successors=successors_of([other(**KEPT_OUT)]))
    first = planned(observed, model_version(stage="Archived", status=CLAIMED))
    again = planned(observed, model_version(stage="Archived", status=first.status.to_wire()))
    assert (first.awaits_others, again.awaits_others) == (True, False)
    under_way = known(IN_PRODUCTION, successors=successors_of([other(**RECONCILING)]))
    assert planned(under_way, model_version(stage="Archived", status=first.status.to_wire())).awaits_others


def test_a_version_whose_successor_took_production_follows_its_spec() -> None:
    leaving = model_version(stage="Archived", status=CLAIMED)
    taken = (registered("1", "Archived"), registered("2", "Production", aliases=("production",)))
    decided = planned(known(*taken, successors=successors_of([other()])), leaving)
    assert (decided.status.phase, decided.status.production_claimed_at) == ("Archived", None)
