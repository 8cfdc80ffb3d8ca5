"""A canary: how many pods it has, and its way from a share of the requests to all of them, or to none."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.objects import NOW, model_version

from mlinfra.resources import ModelVersion
from mlinfra.resources.model_version import ModelVersionStatus
from mlinfra_operator.serving.canary import Share, pods_for, share_of
from mlinfra_operator.serving.observed import Deployment, Lead, Observed, Service, Successor, Trouble
from mlinfra_operator.serving.plan import (
    ApplyDeployment,
    DeleteDeployment,
    ReadPods,
    ServingPlan,
    SwitchService,
    plan,
)

Object = dict[str, Any]
SHARED = Share("1", 1)
SINCE = NOW - timedelta(seconds=100)
BEFORE = Deployment(
    "model-1",
    "d-1",
    "1",
    "uid-1",
    "any",
    desired=4,
    ready=4,
    available=True,
    beside=frozenset("1"),
)
OWN = Deployment(
    "model-2",
    "d-2",
    "2",
    "uid-2",
    f"{SHARED}",
    ready=1,
    available=True,
    beside=frozenset({"1", "2"}),
)
FIRST = Service(
    "model",
    "1",
    SINCE,
    address="10.0.0.7",
    owners={"model-1": "uid-1", "model-2": "uid-2"},
)
BOTH = replace(FIRST, canary="2", canary_since=SINCE)


@pytest.mark.parametrize(
    ("percent", "beside", "most", "pods"),
    [
        (20, 4, 9, 1),
        (50, 4, 9, 4),
        (10, 1, 9, 1),
        (50, 1, 9, 1),
        (25, 4, 9, 1),
        (30, 4, 9, 2),
        (99, 1, 9, 9),
        (50, 10, 2, 2),
    ],
)
def test_the_share_is_as_near_as_whole_pods_allow(percent: int, beside: int, most: int, pods: int) -> None:
    assert pods_for(percent, beside=beside, most=most) == pods


@given(percent=st.integers(1, 99), beside=st.integers(1, 300), most=st.integers(1, 1000))
def test_no_other_number_of_pods_is_nearer(percent: int, beside: int, most: int) -> None:
    pods = pods_for(percent, beside=beside, most=most)
    assert 1 <= pods <= most

    def share(number: int) -> float:
        return number / (number + beside)

    def distance(number: int) -> float:
        return abs(share(number) - percent / 100)

    # Not more than asked for by more than one pod, and nearer neither with one less nor with one more.
    assert pods == 1 or share(pods - 1) < percent / 100
    assert pods == 1 or distance(pods) <= distance(pods - 1)
    assert pods == most or distance(pods) <= distance(pods + 1)


def version(number: str = "2", *, took_over: bool = False, **serving: Any) -> ModelVersion:
    canary = {"percent": 20, "seconds": 600}
    status = {"tookOverAt": "2026-01-01T00:00:00Z"} if took_over else {}
    return model_version(version=number, serving={"replicas": 3, "canary": canary, **serving}, status=status)


def planned(
    asked: ModelVersion | None = None, phase: str = "Production", *, after: float = 0, **facts: Any
) -> ServingPlan:
    asked = asked or version()
    stage = phase if phase in ("Production", "Staging", "Archived") else "None"
    history = [{"stage": stage, "time": "2026-01-02T03:04:05Z"}]
    status = ModelVersionStatus.model_validate({"phase": phase, "digest": "abc", "history": history})
    now = NOW + timedelta(seconds=after)
    known: Object = {"others": {"1": BEFORE}, "services": {"Production": BOTH}, "deployment": OWN}
    observed = Observed(**(known | facts))
    return plan(asked, status, observed, f"{share_of(asked, status, observed, now)}", now)


def told(decided: ServingPlan) -> tuple[str, str]:
    assert decided.condition is not None
    return decided.condition.status, decided.condition.reason


def test_a_canary_joins_the_service_once_its_share_of_pods_is_ready() -> None:
    first = {"services": {"Production": FIRST}}
    assert planned(**first, deployment=None).actions == (ApplyDeployment(SHARED),)
    starting = replace(OWN, ready=0, available=False)
    assert planned(**first, deployment=starting).actions == (ReadPods(),)
    trouble = Trouble("CrashLoopBackOff", "pod a: crashed")
    waiting = planned(**first, deployment=starting, trouble=trouble)
    assert (told(waiting), waiting.canary) == (("False", "CrashLoopBackOff"), None)
    joined = planned(**first)
    assert joined.actions == (SwitchService("Production", Lead("1", SINCE, None, "2", NOW)),)
    shares = planned()
    assert told(shares) == ("True", "Canary")
    assert shares.endpoint == "http://model.team.svc:8080"
    assert shares.requeue_after == 15
    assert not shares.took_over
    assert shares.canary is not None
    assert shares.canary.to_wire() == {
        "previous": "1",
        "percent": 20,
        "pods": 1,
        "previousPods": 4,
        "since": "2026-01-02T03:02:25Z",
        "until": "2026-01-02T03:12:25Z",
    }
    assert [event.reason for event in shares.events] == ["Canary"]


def test_it_has_the_share_that_pods_allow_as_those_beside_it_come_and_go() -> None:
    more = planned(others={"1": replace(BEFORE, desired=9)})
    assert more.actions == (ApplyDeployment(Share("1", 2)),)
    fewer = planned(version(canary={"percent": 90}), others={"1": replace(BEFORE, desired=1)})
    assert fewer.actions == (ApplyDeployment(Share("1", 3)),)


def test_a_canary_whose_pods_crash_has_no_endpoint_and_waits_at_its_end() -> None:
    crashed = Trouble("CrashLoopBackOff", "pod a: crashed")
    unready = replace(OWN, ready=0, available=False)
    during = planned(deployment=unready, trouble=crashed)
    assert (told(during), during.endpoint) == (("False", "CrashLoopBackOff"), None)
    assert during.canary is not None
    assert during.canary.percent == 0
    whole = replace(unready, desired=3, spec_hash="None")
    after = planned(deployment=whole, trouble=crashed, after=500)
    assert (after.actions, told(after)) == ((), ("False", "CrashLoopBackOff"))
    assert after.condition is not None
    assert "version 1 answers until they are" in after.condition.message


def test_at_its_end_it_takes_over_once_all_its_pods_are_ready() -> None:
    over = {"after": 500}
    assert planned(**over).actions == (ApplyDeployment(None),)
    growing = replace(OWN, desired=3, ready=1, available=False, spec_hash="None")
    assert planned(deployment=growing, **over).actions == (ReadPods(),)
    waits = planned(deployment=growing, trouble=Trouble("Unschedulable", "pod c: no node"), **over)
    assert told(waits) == ("True", "TakingOver")
    assert waits.condition is not None
    assert "1 of 3 pods are ready: pod c: no node" in waits.condition.message
    assert waits.endpoint is not None
    whole = replace(growing, ready=3, available=True)
    switched = planned(deployment=whole, **over)
    assert switched.actions == (SwitchService("Production", Lead("2", NOW + timedelta(seconds=500), "1")),)
    leads = replace(FIRST, version="2", previous="1")
    served = planned(deployment=whole, services={"Production": leads}, **over)
    assert (told(served), served.took_over, served.canary) == (("True", "Serving"), True, None)


def test_an_autoscaled_canary_takes_over_with_the_fewest_pods_that_it_asks_for() -> None:
    asked = version(autoscaling={"minReplicas": 3, "maxReplicas": 9})
    one = replace(OWN, spec_hash="None")
    begun = planned(asked, deployment=one, after=500, trouble=Trouble("Starting", "no pod yet"))
    assert told(begun) == ("True", "TakingOver")
    scaled = replace(one, desired=3, ready=3)
    (action,) = planned(asked, deployment=scaled, after=500).actions
    assert isinstance(action, SwitchService)


@pytest.mark.parametrize(
    ("asked", "facts"),
    [
        (version(), {"services": {}, "others": {}}),
        (version(), {"others": {}}),
        (version(), {"others": {"1": replace(BEFORE, desired=0)}}),
        (version(), {"others": {"1": replace(BEFORE, beside=frozenset())}}),
        (version(took_over=True), {}),
        (version(canary=None), {}),
    ],
    ids=[
        "no Service",
        "nobody before",
        "no pods before",
        "an older operator's",
        "took over once",
        "not asked",
    ],
)
def test_a_version_takes_over_at_once_where(asked: ModelVersion, facts: Object) -> None:
    known: Object = {"services": {"Production": FIRST}, "deployment": None, **facts}
    assert planned(asked, **known).actions == (ApplyDeployment(None),)
    whole = replace(OWN, desired=3, ready=3, spec_hash="None")
    (action,) = planned(asked, **(known | {"deployment": whole})).actions
    assert isinstance(action, SwitchService)
    assert (action.lead.version, action.lead.canary) == ("2", None)


def test_staging_has_no_canary() -> None:
    asked = version(stages=["Production", "Staging"])
    assert planned(asked, "Staging", services={"Staging": FIRST}, deployment=None).actions == (
        ApplyDeployment(None),
    )


@pytest.mark.parametrize("phase", ["Archived", "Staging", "Registered"])
def test_a_canary_that_leaves_production_leaves_the_service_first_and_its_pods_go(phase: str) -> None:
    alone = SwitchService("Production", Lead("1", NOW))
    asked = version(stages=["Production", "Staging"]) if phase == "Staging" else version()
    assert planned(asked, phase).actions == (alone,)
    assert planned(version(enabled=False), phase).actions == (alone,)
    if phase != "Staging":
        left = planned(phase=phase, services={"Production": FIRST})
        assert left.actions == (DeleteDeployment("model-2", "d-2"),)


def test_a_canary_whose_stage_is_unknown_stays_what_it_is() -> None:
    assert planned(phase="Pending").actions == ()


def test_a_version_before_that_is_brought_back_has_all_requests_at_once() -> None:
    back = planned(
        version("1", took_over=True),
        deployment=replace(BEFORE, spec_hash="None"),
        others={"2": OWN},
    )
    assert back.actions == (SwitchService("Production", Lead("1", NOW)),)


def test_a_canary_that_leaves_answers_until_the_pods_before_do_where_those_do_not() -> None:
    down = replace(BEFORE, ready=0, available=False)
    successor = Successor("model-1", "1")
    left = planned(phase="Archived", others={"1": down}, successors={"Production": successor})
    assert (left.actions, told(left)) == ((), ("True", "UntilReplaced"))
    back = planned(
        version("1", took_over=True),
        deployment=replace(down, spec_hash="None"),
        others={"2": OWN},
        trouble=Trouble("NotReady", "pod a"),
    )
    assert (back.actions, told(back)) == ((), ("False", "NotReady"))
    third = planned(version("3"), deployment=None, others={"1": down, "2": OWN})
    assert third.actions == (ApplyDeployment(None),)


def test_the_version_before_answers_beside_it_however_long_that_takes() -> None:
    beside = planned(
        version("1", took_over=True, rollbackWindowSeconds=0),
        "Archived",
        deployment=BEFORE,
        others={"2": OWN},
        successors={"Production": Successor("model-2", "2")},
        after=10_000,
    )
    assert told(beside) == ("True", "UntilReplaced")
    assert beside.condition is not None
    assert "beside version 2" in beside.condition.message


def test_without_a_successor_the_version_beside_a_canary_that_left_stays_for_its_window() -> None:
    alone = replace(FIRST, switched_at=NOW)
    archived = version("1", took_over=True, rollbackWindowSeconds=300)
    for after, reason in ((200, "Leaving"), (400, None)):
        decided = planned(
            archived,
            "Archived",
            deployment=BEFORE,
            others={},
            services={"Production": alone},
            after=after,
        )
        assert (decided.condition.reason if decided.condition else None) == reason


def test_another_canary_beside_the_same_version_gives_way_first() -> None:
    third = version("3")
    facts: Object = {"others": {"1": BEFORE, "2": OWN}, "deployment": None}
    # Version 2 has no right to its share any more: version 1 answers alone, then its pods go.
    assert planned(third, **facts).actions == (SwitchService("Production", Lead("1", NOW)),)
    alone = facts | {"services": {"Production": FIRST}}
    assert planned(third, **alone).actions == (DeleteDeployment("model-2", "d-2"),)
    going = alone | {"others": {"1": BEFORE, "2": replace(OWN, deleting=True)}}
    waits = planned(third, **going)
    assert (waits.actions, told(waits)) == ((), ("False", "Starting"))


def test_grpc_is_answered_while_either_version_does() -> None:
    asked = version(grpc=True)
    joined = planned(asked, services={"Production": FIRST})
    assert joined.actions == (SwitchService("Production", Lead("1", SINCE, None, "2", NOW, grpc=True)),)
    assert told(planned(asked, services={"Production": replace(BOTH, grpc=True)})) == ("True", "Canary")
    # The version before has it, and this one does not.
    assert told(planned(services={"Production": replace(BOTH, grpc=True)})) == ("True", "Canary")
    late = planned(asked, services={"Production": BOTH})
    assert late.actions == (SwitchService("Production", Lead("1", SINCE, None, "2", SINCE, grpc=True)),)


def test_a_service_that_a_person_has_edited_becomes_a_canarys_again() -> None:
    edited = replace(BOTH, canary_since=None)
    assert planned(services={"Production": edited}).actions == (
        SwitchService("Production", Lead("1", SINCE, None, "2", NOW)),
    )
    foreign = replace(BOTH, owners={"model-1": "uid-1"})
    assert planned(services={"Production": foreign}).actions == (
        SwitchService("Production", Lead("1", SINCE, None, "2", SINCE)),
    )
