"""Who is in Production, of several ModelVersions that ask for it or that stand for one version."""

from datetime import timedelta
from typing import Any

import pytest
from unit.operator.known_versions import AFTER, BEFORE, CLAIMED, IN_PRODUCTION, condition, known, planned
from unit.operator.objects import NOW, model_version, registered

from mlinfra_operator.modelversion.actions import Action, ArchiveSpec, FollowStage
from mlinfra_operator.modelversion.claims import Claim, claim_timestamp, stored_claim
from mlinfra_operator.modelversion.observed import Observed, elder_of, stage_is_ours
from mlinfra_operator.modelversion.plan import DRIFT_SECONDS


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


def test_a_second_object_for_one_version_stands_back() -> None:
    version = model_version(stage="Production", status=CLAIMED)
    decided = planned(Observed(elder="model-one"), version)
    assert not decided.actions
    stalled = condition(decided, "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "DuplicateVersion")
    assert "model-one" in stalled.message
    assert decided.status.production_claimed_at is None


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
