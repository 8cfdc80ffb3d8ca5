"""What comes next for a ModelVersion, and what its status says, for each state that can be observed."""

from dataclasses import replace
from typing import Any

import pytest
from unit.operator.known_versions import (
    AFTER,
    BAD,
    BEFORE,
    CLAIMED,
    GATES,
    IN_PRODUCTION,
    IN_STAGING,
    condition,
    known,
    planned,
)
from unit.operator.objects import NOW_TEXT, RUN_ID, model_version, registered, registry

from mlinfra_operator.modelversion.actions import Action, FollowStage, ReadMetrics, ReadRegistry
from mlinfra_operator.modelversion.claims import Claim, claim_timestamp
from mlinfra_operator.modelversion.observed import Observed
from mlinfra_operator.modelversion.plan import MIRROR_SECONDS, RESYNC_SECONDS


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
        # Another version's alias and stage disagree: who reads by the stage would meet that one.
        (
            known(IN_PRODUCTION, replace(registered("2", "Staging"), mlflow_stage="Production")),
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


def test_a_version_remembers_the_stages_that_it_had() -> None:
    first = planned(known(IN_STAGING), model_version(stage="Staging"))
    assert [(each.stage, each.time) for each in first.status.history] == [("Staging", NOW_TEXT)]
    status = first.status.to_wire()
    again = planned(known(IN_STAGING), model_version(stage="Staging", status=status))
    assert again.status.history == first.status.history
    later = planned(known(registered("1", "Archived")), model_version(stage="Archived", status=status))
    assert [each.stage for each in later.status.history] == ["Archived", "Staging"]
