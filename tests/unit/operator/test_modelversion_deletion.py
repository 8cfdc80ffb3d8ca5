"""What becomes of a version in MLflow when its ModelVersion is deleted, for each state that is observed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.objects import NOW, NOW_TEXT, model_version, registered, registry

from mlinfra.resources import ModelVersion
from mlinfra.resources.base import ObjectMeta
from mlinfra.resources.names import VERSION_FINALIZER
from mlinfra_operator.conditions import find, timestamp
from mlinfra_operator.modelversion.actions import (
    Action,
    DeleteVersion,
    FollowStage,
    Hold,
    Plan,
    ReadRegistry,
    Release,
)
from mlinfra_operator.modelversion.deletion import DEFAULT_PATIENCE, plan_deletion
from mlinfra_operator.modelversion.observed import Observed

PATIENCE = DEFAULT_PATIENCE
AWAY = Observed(unavailable="MLflow does not answer.")


def deleted(policy: str = "Delete", *, held: bool = True, gone: bool = True, **facts: Any) -> ModelVersion:
    version = model_version(deletionPolicy=policy, **facts)
    metadata: dict[str, Any] = version.metadata.model_dump(by_alias=True)
    metadata["finalizers"] = [VERSION_FINALIZER] if held else []
    metadata["deletionTimestamp"] = NOW_TEXT if gone else None
    return version.model_copy(update={"metadata": ObjectMeta.model_validate(metadata)})


def planned(version: ModelVersion, observed: Observed, *, after: timedelta = timedelta()) -> Plan | None:
    return plan_deletion(version, observed, NOW + after, patience=PATIENCE)


def only_action(decided: Plan | None) -> Action:
    assert decided is not None
    assert len(decided.actions) == 1
    return decided.actions[0]


def told(decided: Plan | None) -> tuple[str, str]:
    """Reason and message of the Event that a ModelVersion leaves with."""
    action = only_action(decided)
    assert isinstance(action, Release)
    assert action.event is not None
    return action.event.reason, action.event.message


@pytest.mark.parametrize(
    ("policy", "held", "actions"),
    [
        ("Delete", False, (Hold(),)),
        ("Delete", True, None),
        ("Retain", False, None),
        ("Retain", True, (Release(),)),
    ],
)
def test_a_finalizer_is_there_only_where_the_policy_is_to_delete(
    policy: str, held: bool, actions: tuple[Action, ...] | None
) -> None:
    decided = planned(deleted(policy, held=held, gone=False), Observed())
    assert (decided.actions if decided else None) == actions


@pytest.mark.parametrize(
    ("observed", "action"),
    [
        (Observed(), ReadRegistry()),
        (Observed(registry=registry(registered("1"))), DeleteVersion()),
        (Observed(registry=registry(registered("1", "Archived"))), DeleteVersion()),
        (Observed(registry=registry(registered("1", "Production"))), FollowStage("Archived")),
        (Observed(registry=registry(registered("1", "Staging"))), FollowStage("Archived")),
        # An alias was moved by hand: MLflow's own stage still says Production.
        (
            Observed(registry=registry(replace(registered("1"), mlflow_stage="Production"))),
            FollowStage("Archived"),
        ),
    ],
)
def test_a_version_leaves_its_stage_before_it_is_deleted(observed: Observed, action: Action) -> None:
    assert only_action(planned(deleted(), observed)) == action


@pytest.mark.parametrize(
    ("observed", "reason", "message"),
    [
        (Observed(registry="absent"), "VersionDeleted", "MLflow has no version 1 of model any more"),
        (Observed(registry=registry(registered("2"))), "VersionDeleted", "MLflow has no version 1"),
        (Observed(registry=registry(registered("1"), owner="other")), "VersionKept", "namespace other"),
        (Observed(twin="model-twin"), "VersionKept", "ModelVersion model-twin stands for it as well"),
    ],
)
def test_a_model_version_leaves_and_tells_what_became_of_its_version(
    observed: Observed, reason: str, message: str
) -> None:
    found, text = told(planned(deleted(), observed))
    assert found == reason
    assert message in text


@pytest.mark.parametrize("away", [AWAY, Observed(refused="MLflow refuses.")])
def test_mlflow_is_waited_for_and_then_given_up(away: Observed) -> None:
    waiting = planned(deleted(), away, after=PATIENCE - timedelta(seconds=1))
    assert waiting is not None
    assert waiting.retry
    assert not waiting.actions
    reconciling = find(waiting.status.conditions, "Reconciling")
    assert reconciling is not None
    assert f"given up at {timestamp(NOW + PATIENCE)}" in reconciling.message
    reason, message = told(planned(deleted(), away, after=PATIENCE))
    assert reason == "VersionNotDeleted"
    assert "version 1 of model stays in MLflow" in message


def test_waiting_is_told_once() -> None:
    first = planned(deleted(), AWAY)
    assert first is not None
    again = planned(deleted(status=first.status.to_wire()), AWAY)
    assert again is not None
    assert [event.reason for event in first.events] == ["MLflowUnavailable"]
    assert again.events == ()
    assert again.status == first.status


def test_a_policy_changed_to_retain_lets_go_at_once() -> None:
    assert only_action(planned(deleted("Retain"), AWAY)) == Release()


def test_what_others_keep_is_left_alone() -> None:
    decided = planned(deleted(held=False), Observed(registry=registry(registered("1", "Production"))))
    assert decided is not None
    assert decided.actions == ()
    assert not decided.retry


registries = st.one_of(
    st.just("absent"),
    st.builds(
        lambda stage, mlflow_stage, owner: registry(
            replace(registered("1", stage), mlflow_stage=mlflow_stage), owner=owner
        ),
        st.sampled_from(["None", "Staging", "Production", "Archived"]),
        st.sampled_from(["None", "Staging", "Production", "Archived"]),
        st.sampled_from(["team", "other"]),
    ),
)
observations = st.builds(
    Observed,
    registry=st.none() | registries,
    twin=st.none() | st.just("model-twin"),
    unavailable=st.none() | st.just("MLflow does not answer."),
    refused=st.none() | st.just("MLflow refuses."),
)


@given(
    observed=observations,
    policy=st.sampled_from(["Retain", "Delete"]),
    held=st.booleans(),
    seconds=st.integers(0, 3600),
)
def test_nothing_is_deleted_unasked_and_nothing_waits_for_ever(
    observed: Observed, policy: str, held: bool, seconds: int
) -> None:
    decided = planned(deleted(policy, held=held), observed, after=timedelta(seconds=seconds))
    assert decided is not None
    if any(isinstance(action, DeleteVersion | FollowStage) for action in decided.actions):
        assert policy == "Delete"
        assert held
        assert observed.twin is None
        assert observed.registry not in (None, "absent")
    if held and not decided.actions:
        assert seconds < PATIENCE.total_seconds()
        assert decided.retry
