"""Gates and approval before a stage: what guards the way in, and never the way out."""

import math
from dataclasses import replace
from typing import Any

import pytest
from unit.operator.known_versions import (
    BAD,
    CHALLENGER,
    CLAIMED,
    GATES,
    IN_PRODUCTION,
    IN_STAGING,
    condition,
    known,
    planned,
)
from unit.operator.objects import model_version, registered, registry

from mlinfra_operator.modelversion.actions import FollowStage
from mlinfra_operator.modelversion.observed import Observed
from mlinfra_operator.modelversion.plan import MIRROR_SECONDS
from mlinfra_operator.tracking import MeasuredRun, Problem


@pytest.mark.parametrize("spec", [{"gates": GATES}, {"approval": "Rejected"}])
def test_what_may_not_be_in_production_is_taken_out_of_it_in_mlflow(spec: dict[str, Any]) -> None:
    observed = known(IN_PRODUCTION, metrics=BAD)
    put_there = planned(observed, model_version(stage="Production", **spec))
    assert put_there.actions == (FollowStage("None"),)
    # One that was there before its spec asked for more stays, as does one that holds its claim.
    for status in ({"stage": "Production"}, CLAIMED):
        was_there = model_version(stage="Production", status=status, **spec)
        assert FollowStage("None") not in planned(observed, was_there).actions


@pytest.mark.parametrize("stage", ["Staging", "Production"])
@pytest.mark.parametrize(
    ("metrics", "reason", "phase", "passed"),
    [
        (BAD, "GatesFailed", "GatesFailed", "False"),
        ({}, "GatesInconclusive", "Registered", "Unknown"),
        ({"test_accuracy": math.nan}, "GatesError", "Registered", "Unknown"),
    ],
)
def test_gates_guard_the_way_into_a_stage(
    stage: str, metrics: dict[str, float], reason: str, phase: str, passed: str
) -> None:
    decided = planned(known(metrics=metrics), model_version(stage=stage, gates=GATES))
    assert not decided.actions
    assert decided.status.phase == phase
    stalled = condition(decided, "Stalled")
    assert (stalled.status, stalled.reason) == ("True", reason)
    assert stalled.message.startswith(f"not in {stage}: test_accuracy")
    assert condition(decided, "GatesPassed").status == passed
    assert condition(decided, "Promoted").status == "False"
    assert [(event.type, event.reason) for event in decided.events] == [("Warning", reason)]
    assert decided.status.production_claimed_at is None


@pytest.mark.parametrize(
    ("stage", "status", "settled"),
    [
        ("Production", CLAIMED, IN_PRODUCTION),
        ("Staging", {"phase": "Staging"}, registered("1", "Staging", aliases=("staging",))),
    ],
)
def test_a_version_keeps_the_stage_that_it_holds_when_its_gates_are_raised(
    stage: str, status: dict[str, Any], settled: Any
) -> None:
    decided = planned(known(settled, metrics=BAD), model_version(stage=stage, gates=GATES, status=status))
    assert decided.status.phase == stage
    assert condition(decided, "GatesPassed").status == "False"


@pytest.mark.parametrize("stage", ["None", "Archived"])
def test_no_gate_guards_the_way_out(stage: Any) -> None:
    decided = planned(known(registered("1", stage), metrics=BAD), model_version(stage=stage, gates=GATES))
    assert decided.status.phase == ("Registered" if stage == "None" else stage)


@pytest.mark.parametrize(
    ("approval", "phase", "approved"),
    [("PendingManualApproval", "PendingApproval", "Unknown"), ("Rejected", "Rejected", "False")],
)
@pytest.mark.parametrize("stage", ["Production", "Staging"])
def test_a_version_takes_no_stage_that_nobody_approved(
    stage: str, approval: str, phase: str, approved: str
) -> None:
    decided = planned(known(), model_version(stage=stage, approval=approval))
    assert decided.actions == ()
    assert decided.status.phase == phase
    assert condition(decided, "Approved").status == approved
    assert condition(decided, "Ready").status == "True"
    assert condition(decided, "Promoted").status == "False"


def test_a_person_is_asked_only_about_what_passed_its_gates() -> None:
    version = model_version(stage="Production", gates=GATES, approval="PendingManualApproval")
    assert planned(known(metrics=BAD), version).status.phase == "GatesFailed"


def test_a_version_in_production_is_not_asked_for_its_approval_again() -> None:
    version = model_version(stage="Production", approval="Rejected", status=CLAIMED)
    assert planned(known(IN_PRODUCTION), version).status.phase == "Production"


def test_what_could_not_be_read_is_read_again() -> None:
    gone = MeasuredRun({}, problem=Problem("RunUnreadable", "run run-1 cannot be read: HTTP 500"))
    decided = planned(known(run=gone), model_version(stage="Staging", gates=GATES))
    assert decided.requeue_after == MIRROR_SECONDS
    passed = condition(decided, "GatesPassed")
    assert (passed.status, passed.reason) == ("Unknown", "GatesError")
    assert "cannot be read: HTTP 500" in passed.message
    assert [(event.type, event.reason) for event in decided.events] == [("Warning", "GatesError")]


def test_a_version_of_no_run_has_nothing_to_judge() -> None:
    observed = Observed(registry=registry(replace(registered("1"), run_id=None)))
    decided = planned(observed, model_version(stage="Staging", source=None, gates=GATES))
    (result,) = decided.status.gates
    assert (result.outcome, result.reason) == ("Error", "NoRun")


@pytest.mark.parametrize(
    ("metrics", "champion", "others", "outcome"),
    [
        ({"test_accuracy": 0.9}, None, (), "Passed"),
        ({"test_accuracy": 0.9, "champion_test_accuracy": 0.88}, "1", ("1",), "Passed"),
        ({"test_accuracy": 0.9, "champion_test_accuracy": 0.895}, "1", ("1",), "Failed"),
        ({"test_accuracy": 0.9}, None, ("1",), "Inconclusive"),
        ({"test_accuracy": 0.9}, "1", ("1",), "Inconclusive"),
        ({"champion_test_accuracy": 0.9}, "1", ("1",), "Inconclusive"),
        # Another version took Production since the run measured the champion.
        ({"test_accuracy": 0.99, "champion_test_accuracy": 0.9}, "1", ("3",), "Inconclusive"),
        # The champion left Production: it was beaten all the same.
        ({"test_accuracy": 0.99, "champion_test_accuracy": 0.9}, "1", (), "Passed"),
    ],
)
def test_a_challenger_has_to_beat_the_version_in_production(
    metrics: dict[str, float], champion: str | None, others: tuple[str, ...], outcome: str
) -> None:
    versions = [
        registered("2"),
        *(registered(other, "Production", aliases=("production",)) for other in others),
    ]
    decided = planned(
        known(*versions, metrics=metrics, champion=champion),
        model_version(version="2", stage="Production", challenger=CHALLENGER),
    )
    if outcome == "Passed":
        assert decided.actions == (FollowStage("Production", others),)
        return
    assert decided.actions == ()
    assert [gate.outcome for gate in decided.status.gates] == [outcome]
    assert condition(decided, "Ready").reason == f"Gates{outcome}"


def test_a_lower_value_may_be_the_better_one() -> None:
    challenger = {"metric": "test_log_loss", "goal": "Minimize", "minImprovement": 0.1}
    metrics = {"test_log_loss": 0.5, "champion_test_log_loss": 0.55}
    subject = model_version(version="2", stage="Production", challenger=challenger)
    versions = (registered("2"), IN_PRODUCTION)
    failed = planned(known(*versions, metrics=metrics, champion="1"), subject)
    assert "better by 0.05, and must be by 0.1" in condition(failed, "Ready").message
    metrics = {"test_log_loss": 0.4, "champion_test_log_loss": 0.55}
    assert planned(known(*versions, metrics=metrics, champion="1"), subject).actions


@pytest.mark.parametrize("found", [IN_STAGING, IN_PRODUCTION])
@pytest.mark.parametrize(
    ("spec", "phase", "reason"),
    [
        ({"approval": "PendingManualApproval"}, "PendingApproval", "PendingManualApproval"),
        ({"approval": "Rejected"}, "Rejected", "Rejected"),
    ],
)
def test_what_mlflow_says_is_no_way_around_approval(
    found: Any, spec: dict[str, Any], phase: str, reason: str
) -> None:
    observed = known(found, metrics=BAD)
    first = planned(observed, model_version(**spec))
    again = planned(observed, model_version(status=first.status.to_wire(), **spec))
    for decided in (first, again):
        # MLflow owns the stage: it is left as it is, and shown.
        assert decided.actions == ()
        assert (decided.status.phase, decided.status.stage) == (phase, found.stage)
        assert condition(decided, "Ready").reason == reason
        assert condition(decided, "Ready").message.startswith(f"in {found.stage} in MLflow, and not served")
        assert decided.requeue_after == MIRROR_SECONDS
    approved = model_version(status=again.status.to_wire())
    assert planned(observed, approved).status.phase == found.stage


def test_who_owns_the_stage_may_overrule_gates() -> None:
    version = model_version(gates=GATES)
    assert planned(known(IN_PRODUCTION, metrics=BAD), version).status.phase == "Production"


@pytest.mark.parametrize("status", [CLAIMED, {"phase": "Production"}])
def test_what_was_in_production_stays_there_when_mlflow_comes_to_own_its_stage(
    status: dict[str, Any],
) -> None:
    version = model_version(approval="Rejected", gates=GATES, status=status)
    assert planned(known(IN_PRODUCTION, metrics=BAD), version).status.phase == "Production"
