"""What comes next for a ModelVersion, and what its status says, for each state that can be observed."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from unit.operator.objects import NOW, NOW_TEXT, RUN_ID, model_version, registered, registry

from mlinfra.resources import ModelVersion
from mlinfra.resources.base import Condition
from mlinfra_operator.modelversion.claims import Claim, claim_timestamp, stored_claim
from mlinfra_operator.modelversion.observed import Observed, elder_of, stage_is_ours
from mlinfra_operator.modelversion.plan import (
    DRIFT_SECONDS,
    MIRROR_SECONDS,
    RESYNC_SECONDS,
    Action,
    ArchiveSpec,
    FollowStage,
    Plan,
    ReadMetrics,
    ReadRegistry,
    plan,
)
from mlinfra_operator.tracking import MeasuredRun, Problem

CHALLENGER = {"metric": "test_accuracy", "minImprovement": 0.01}
GATES = [{"metric": "test_accuracy", "min": 0.8}]
GOOD, BAD = {"test_accuracy": 0.9}, {"test_accuracy": 0.7}
BEFORE, AFTER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
IN_STAGING = registered("1", "Staging", aliases=("staging",))
IN_PRODUCTION = registered("1", "Production", aliases=("production",))
CLAIMED = {"phase": "Production", "productionClaimedAt": claim_timestamp(BEFORE)}


def known(*versions: Any, **facts: Any) -> Observed:
    run = MeasuredRun(facts.pop("metrics", GOOD), facts.pop("champion", None))
    defaults: dict[str, Any] = {"registry": registry(*(versions or (registered("1"),))), "run": run}
    return Observed(**(defaults | facts))


def planned(observed: Observed, version: ModelVersion) -> Plan:
    return plan(version, observed, NOW)


def condition(told: Plan, type_: str) -> Condition:
    return next(found for found in told.status.conditions if found.type == type_)


@pytest.mark.parametrize(
    ("observed", "stage", "action"),
    [
        (Observed(), "Production", ReadRegistry()),
        (Observed(registry=registry(registered("1"))), "Production", ReadMetrics(RUN_ID)),
        (known(), "Production", FollowStage("Production")),
        (known(), "Staging", FollowStage("Staging")),
        (known(registered("1", "Staging")), "None", FollowStage("None")),
        (known(registered("1", "Staging")), "Archived", FollowStage("Archived")),
        # MLflow was changed behind our back: by the stage, by the alias, by another version.
        (known(registered("1", "None", aliases=("production",))), "Production", FollowStage("Production")),
        # The alias was taken off by hand, or given to a version that is not in that stage.
        (known(registered("1", "Staging")), "Staging", FollowStage("Staging")),
        (
            known(registered("1", "Staging"), registered("2", aliases=("staging",))),
            "Staging",
            FollowStage("Staging"),
        ),
        (known(registered("1", "Staging", aliases=("production",))), "Staging", FollowStage("Staging")),
        (known(replace(IN_STAGING, mlflow_stage="Archived")), "Staging", FollowStage("Staging")),
        (known(registered("1", "Archived", aliases=("staging",))), "Archived", FollowStage("Archived")),
        (known(registered("1", "Production")), "Production", FollowStage("Production")),
        (
            known(IN_PRODUCTION, registered("2", "Production")),
            "Production",
            FollowStage("Production", ("2",)),
        ),
        # A new claim is newer than all others.
        (
            known(claims=(Claim("model-2", 2, AFTER),), stage_is_ours=True),
            "Production",
            FollowStage("Production"),
        ),
    ],
)
def test_each_state_asks_for_its_next_step(observed: Observed, stage: str, action: Action) -> None:
    assert planned(observed, model_version(stage=stage)).actions == (action,)


def test_versions_that_are_in_staging_together_do_not_fight_for_its_alias() -> None:
    both = (IN_STAGING, registered("2", "Staging"))
    for version in ("1", "2"):
        decided = planned(known(*both), model_version(version=version, stage="Staging"))
        assert (decided.actions, decided.status.phase) == ((), "Staging")


@pytest.mark.parametrize("spec", [{"gates": GATES}, {"approval": "Rejected"}])
def test_what_may_not_be_in_production_is_taken_out_of_it_in_mlflow(spec: dict[str, Any]) -> None:
    observed = known(IN_PRODUCTION, metrics=BAD)
    put_there = planned(observed, model_version(stage="Production", **spec))
    assert put_there.actions == (FollowStage("None"),)
    # One that was there before its spec asked for more stays, as does one that holds its claim.
    for status in ({"stage": "Production"}, CLAIMED):
        was_there = model_version(stage="Production", status=status, **spec)
        assert FollowStage("None") not in planned(observed, was_there).actions


@pytest.mark.parametrize(
    ("observed", "spec"),
    [
        (known(registered("1", "Archived")), {"stage": "Archived"}),
        (known(), {"stage": "None"}),
        (known(metrics=BAD), {"stage": "Production", "gates": GATES}),
        (known(), {"stage": "Production", "approval": "PendingManualApproval"}),
        (known(registered("1", "Archived"), claims=(Claim("model-2", 2, AFTER),)), {"stage": "Production"}),
    ],
)
def test_a_version_in_no_stage_is_compared_with_mlflow_too(observed: Observed, spec: dict[str, Any]) -> None:
    status = {"productionClaimedAt": claim_timestamp(BEFORE)} if observed.claims else {}
    decided = planned(observed, model_version(status=status, **spec))
    assert decided.actions == ()
    assert decided.requeue_after == RESYNC_SECONDS


@pytest.mark.parametrize(("ours", "action"), [(True, ArchiveSpec()), (False, FollowStage("Archived"))])
def test_a_superseded_version_is_archived_in_the_spec_only_where_the_operator_asked_for_its_stage(
    ours: bool, action: Action
) -> None:
    observed = known(IN_PRODUCTION, claims=(Claim("model-2", 2, NOW),), stage_is_ours=ours)
    version = model_version(stage="Production", status=CLAIMED)
    assert planned(observed, version).actions == (action,)


def test_a_superseded_version_is_ready_and_keeps_its_claim() -> None:
    observed = known(registered("1", "Archived"), claims=(Claim("model-2", 2, NOW),))
    version = model_version(stage="Production", status=CLAIMED)
    decided = planned(observed, version)
    assert decided.status.phase == "Archived"
    assert condition(decided, "Ready").status == "True"
    promoted = condition(decided, "Promoted")
    assert (promoted.status, promoted.reason) == ("False", "Superseded")
    assert "model-2" in promoted.message
    assert decided.status.production_claimed_at == CLAIMED["productionClaimedAt"]


def test_a_version_that_settled_in_production_stores_its_claim() -> None:
    decided = planned(known(IN_PRODUCTION), model_version(stage="Production"))
    assert decided.status.phase == "Production"
    assert decided.status.production_claimed_at == claim_timestamp(NOW)
    assert decided.requeue_after == DRIFT_SECONDS
    assert condition(decided, "Ready").status == "True"
    assert condition(decided, "Promoted").status == "True"
    assert condition(decided, "Registered").status == "True"
    assert [(event.type, event.reason) for event in decided.events] == [("Normal", "Promoted")]


def test_a_claim_is_kept_as_it_was_first_stored() -> None:
    first = planned(known(IN_PRODUCTION), model_version(stage="Production", status=CLAIMED))
    assert first.status.production_claimed_at == CLAIMED["productionClaimedAt"]


def test_a_new_claim_is_later_than_one_from_a_clock_that_went_ahead() -> None:
    observed = known(IN_PRODUCTION, claims=(Claim("model-2", 2, AFTER),))
    decided = planned(observed, model_version(stage="Production"))
    assert decided.status.phase == "Production"
    assert decided.status.production_claimed_at == claim_timestamp(AFTER + timedelta(microseconds=1))


def test_leaving_production_drops_the_claim() -> None:
    decided = planned(known(registered("1", "Archived")), model_version(stage="Archived", status=CLAIMED))
    assert decided.status.phase == "Archived"
    assert decided.status.production_claimed_at is None


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
    ("found", "phase"),
    [
        (registered("1"), "Registered"),
        (registered("1", "Staging", aliases=("staging",)), "Staging"),
        (IN_PRODUCTION, "Production"),
        (registered("1", "Archived"), "Archived"),
    ],
)
def test_without_a_stage_the_status_mirrors_mlflow(found: Any, phase: str) -> None:
    decided = planned(known(found), model_version())
    assert not decided.actions
    assert decided.status.phase == phase
    assert decided.status.stage == found.stage
    assert decided.status.aliases == list(found.aliases)
    assert decided.requeue_after == MIRROR_SECONDS


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        (Observed(registry="absent"), "VersionNotFound"),
        (known(registered("2")), "VersionNotFound"),
        (Observed(registry=registry(registered("1"), owner="elsewhere")), "OwnedByOtherNamespace"),
    ],
)
def test_what_mlflow_does_not_have_for_this_namespace_is_told(observed: Observed, reason: str) -> None:
    decided = planned(observed, model_version(stage="Production", status=CLAIMED))
    assert decided.status.phase == "Pending"
    assert condition(decided, "Stalled").reason == reason
    assert condition(decided, "Registered").status == "False"
    assert decided.status.stage is None
    assert decided.requeue_after == MIRROR_SECONDS
    assert [event.reason for event in decided.events] == [reason]


def test_a_second_object_for_one_version_stands_back() -> None:
    version = model_version(stage="Production", status=CLAIMED)
    decided = planned(Observed(elder="model-one"), version)
    assert not decided.actions
    stalled = condition(decided, "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "DuplicateVersion")
    assert "model-one" in stalled.message
    assert decided.status.production_claimed_at is None


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        (Observed(unavailable="MLflow is away."), "MLflowUnavailable"),
        (Observed(refused="MLflow says no."), "MLflowRefused"),
    ],
)
def test_while_mlflow_is_away_all_that_is_known_stays(observed: Observed, reason: str) -> None:
    settled = planned(known(IN_PRODUCTION), model_version(stage="Production")).status
    version = model_version(stage="Production", status=settled.to_wire(), generation=2)
    decided = planned(observed, version)
    assert decided.retry
    assert decided.status.phase == "Production"
    assert decided.status.production_claimed_at == settled.production_claimed_at
    assert decided.status.observed_generation == 2
    assert condition(decided, "Reconciling").reason == reason
    assert condition(decided, "Promoted").status == "True"
    again = planned(
        observed, model_version(stage="Production", status=decided.status.to_wire(), generation=2)
    )
    assert again.events == ()


def test_what_is_settled_is_told_once() -> None:
    first = planned(known(IN_PRODUCTION), model_version(stage="Production"))
    again = planned(known(IN_PRODUCTION), model_version(stage="Production", status=first.status.to_wire()))
    assert again.status == first.status
    assert again.events == ()


@pytest.mark.parametrize(
    ("stage", "claimed", "claim"),
    [
        ("Production", claim_timestamp(BEFORE), Claim("model-3", 3, BEFORE)),
        ("Production", None, None),
        ("Archived", claim_timestamp(BEFORE), None),
        (None, claim_timestamp(BEFORE), None),
    ],
)
def test_a_claim_counts_while_the_spec_asks_for_production(
    stage: str | None, claimed: str | None, claim: Claim | None
) -> None:
    status = {"productionClaimedAt": claimed} if claimed else {}
    assert stored_claim(model_version(version="3", stage=stage, status=status).to_wire()) == claim


def managed(manager: str, *fields: str) -> dict[str, Any]:
    return {"manager": manager, "fieldsV1": {"f:spec": {f"f:{field}": {} for field in fields}}}


@pytest.mark.parametrize(
    ("entries", "ours"),
    [
        ([], False),
        ([managed("mlinfra-operator", "stage", "modelName")], True),
        ([managed("mlinfra-operator", "modelName")], False),
        ([managed("person", "stage")], False),
        ([managed("mlinfra-operator", "stage"), managed("person", "stage")], False),
        ([managed("mlinfra-operator", "stage"), managed("person", "gates")], True),
        ([{"manager": "mlinfra-operator"}, {"manager": "x", "fieldsV1": {"f:status": {}}}], False),
    ],
)
def test_the_stage_is_ours_where_no_other_manager_owns_it(entries: list[dict[str, Any]], ours: bool) -> None:
    assert stage_is_ours(entries) is ours


def aged(name: str, created: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": created}}


@pytest.mark.parametrize(
    ("own", "twins", "elder"),
    [
        (aged("a", "2026-01-01T00:00:01Z"), [], None),
        (aged("a", "2026-01-01T00:00:01Z"), [aged("b", "2026-01-01T00:00:02Z")], None),
        (aged("a", "2026-01-01T00:00:01Z"), [aged("b", "2026-01-01T00:00:00Z")], "b"),
        (aged("b", "2026-01-01T00:00:01Z"), [aged("a", "2026-01-01T00:00:01Z")], "a"),
    ],
)
def test_of_several_objects_for_one_version_the_oldest_counts(
    own: dict[str, Any], twins: list[dict[str, Any]], elder: str | None
) -> None:
    assert elder_of(own, twins) == elder


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


def test_a_version_remembers_the_stages_that_it_had() -> None:
    first = planned(known(IN_STAGING), model_version(stage="Staging"))
    assert [(each.stage, each.time) for each in first.status.history] == [("Staging", NOW_TEXT)]
    status = first.status.to_wire()
    again = planned(known(IN_STAGING), model_version(stage="Staging", status=status))
    assert again.status.history == first.status.history
    later = planned(known(registered("1", "Archived")), model_version(stage="Archived", status=status))
    assert [each.stage for each in later.status.history] == ["Archived", "Staging"]


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
