"""How one version is served, by the plan."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from unit.operator.objects import NOW, model_version

from mlinfra.resources import ModelVersion
from mlinfra.resources.model_version import ModelVersionStatus
from mlinfra_operator.serving.observed import (
    Deployment,
    Lead,
    Observed,
    Service,
    Successor,
    Trouble,
    trouble_of,
)
from mlinfra_operator.serving.plan import (
    ApplyDeployment,
    DeleteDeployment,
    ReadDigest,
    ReadPods,
    ServingPlan,
    SwitchService,
    plan,
)

Object = dict[str, Any]
HASH = "hash"
WINDOW = 3600


def version(number: str = "1", **serving: Any) -> ModelVersion:
    return model_version(version=number, serving={"rollbackWindowSeconds": WINDOW, **serving})


def status(phase: str | None, *, digest: str | None = "digest", since: datetime = NOW) -> ModelVersionStatus:
    stage = phase if phase in ("Production", "Staging", "Archived") else "None"
    history = [{"stage": stage, "time": f"{since:%Y-%m-%dT%H:%M:%SZ}"}]
    return ModelVersionStatus.model_validate({"phase": phase, "digest": digest, "history": history})


def running(number: str = "1", **facts: Any) -> Deployment:
    known: Object = {"owner": f"uid-{number}", "spec_hash": HASH, "ready": 1, "available": True}
    return Deployment(f"model-{number}", f"deployment-{number}", number, **(known | facts))


def leading(number: str = "1", **facts: Any) -> Service:
    known: Object = {"version": number, "address": "10.0.0.7", "owners": {f"model-{number}": f"uid-{number}"}}
    return Service("model", **(known | facts))


def planned(
    phase: str | None, *, digest: str | None = "digest", now: datetime = NOW, number: str = "1", **facts: Any
) -> ServingPlan:
    spec_hash = None if digest is None and facts.get("digest", "unasked") == "unasked" else HASH
    return plan(version(number), status(phase, digest=digest), Observed(**facts), spec_hash, now)


def told(decided: ServingPlan) -> tuple[str, str]:
    assert decided.condition is not None
    return decided.condition.status, decided.condition.reason


def test_the_way_to_being_served() -> None:
    assert planned("Production", digest=None).actions == (ReadDigest(),)
    assert planned("Production").actions == (ApplyDeployment(),)
    starting = running(ready=0, available=False)
    assert planned("Production", deployment=starting).actions == (ReadPods(),)
    trouble = Trouble("CrashLoopBackOff", "pod a: crashed")
    waiting = planned("Production", deployment=starting, trouble=trouble)
    assert told(waiting) == ("False", "CrashLoopBackOff")
    assert (waiting.requeue_after, waiting.endpoint) == (5.0, None)
    ready = planned("Production", deployment=running())
    assert ready.actions == (SwitchService("Production", Lead("1", NOW)),)
    served = planned("Production", deployment=running(), services={"Production": leading()})
    assert told(served) == ("True", "Serving")
    assert served.endpoint == "http://model.team.svc:8080"
    assert [event.type for event in served.events] == ["Normal"]
    assert (served.took_over, served.canary) == (True, None)


def test_the_service_turns_only_to_ready_pods_and_remembers_whom_it_left() -> None:
    before = {"Production": leading("1")}
    waiting = planned(
        "Production",
        number="2",
        deployment=running("2", available=False, ready=0),
        services=before,
        trouble=Trouble("NotReady", "pod b"),
    )
    assert waiting.actions == ()
    assert waiting.condition is not None
    assert "version 1 answers until they are" in waiting.condition.message
    turned = planned("Production", number="2", deployment=running("2"), services=before)
    assert turned.actions == (SwitchService("Production", Lead("2", NOW, "1")),)


def test_a_version_whose_pods_went_keeps_the_service_and_says_so() -> None:
    gone = planned(
        "Production",
        deployment=running(ready=0, available=False),
        services={"Production": leading()},
        trouble=Trouble("Unschedulable", "pod a: no node"),
    )
    assert (gone.actions, told(gone)) == ((), ("False", "Unschedulable"))


def test_what_has_its_name_already_is_not_taken_over() -> None:
    foreign = planned("Production", deployment=running(owner="somebody"))
    assert told(foreign) == ("False", "DeploymentNameTaken")
    theirs = planned("Production", deployment=running(), services={"Production": leading(ours=False)})
    assert told(theirs) == ("False", "ServiceNameTaken")
    archived = planned("Archived", deployment=running(owner="somebody"))
    assert (archived.actions, told(archived)) == ((), ("False", "NotInStage"))


def test_the_version_before_answers_until_it_is_replaced_and_stays_for_the_window() -> None:
    successors = {"Production": Successor("model-2", "2")}
    still = planned(
        "Archived", deployment=running(), services={"Production": leading()}, successors=successors
    )
    assert told(still) == ("True", "UntilReplaced")
    assert still.endpoint is not None
    switched = leading("2", previous="1", switched_at=NOW + timedelta(seconds=50))
    after = {"deployment": running(), "services": {"Production": switched}, "successors": successors}
    waits = planned("Archived", now=NOW + timedelta(seconds=WINDOW), **after)
    assert told(waits) == ("False", "StandsBy")
    assert waits.requeue_after == pytest.approx(50, abs=1)
    ended = planned("Archived", now=NOW + timedelta(seconds=WINDOW + 50), **after)
    assert ended.actions == (DeleteDeployment("model-1", "deployment-1"),)


def test_what_never_got_ready_does_not_stand_by() -> None:
    decided = planned("Archived", deployment=running(available=False, ready=0))
    assert decided.actions == (DeleteDeployment("model-1", "deployment-1"),)


def test_an_unknown_stage_leaves_what_runs_alone() -> None:
    for phase in (None, "Pending"):
        decided = planned(phase, deployment=running(), services={"Production": leading()})
        assert (decided.actions, told(decided)) == ((), ("Unknown", "StageUnknown"))
    early = planned("Production", known=False)
    assert (early.actions, told(early), early.requeue_after) == ((), ("Unknown", "Starting"), 1.0)


def test_no_serving_and_no_longer_serving() -> None:
    plain = model_version()
    assert plan(plain, status("Production"), Observed(), None, NOW) == ServingPlan()
    left = plan(plain, status("Production"), Observed(deployment=running()), None, NOW)
    assert left.actions == (DeleteDeployment("model-1", "deployment-1"),)
    off = plan(version(enabled=False), status("Production"), Observed(deployment=running()), None, NOW)
    assert off.actions == (DeleteDeployment("model-1", "deployment-1"),)


def test_staging_is_served_where_it_is_asked_for_at_a_service_of_its_own() -> None:
    asked = version(stages=["Production", "Staging"])
    decided = plan(asked, status("Staging"), Observed(deployment=running()), HASH, NOW)
    assert decided.actions == (SwitchService("Staging", Lead("1", NOW)),)
    assert told(planned("Staging")) == ("False", "NotInStage")


def test_the_service_has_a_port_for_grpc_while_the_version_that_it_leads_to_asks_for_it() -> None:
    asked, there = version(grpc=True), running()

    def decided(wanted: ModelVersion, **services: Service) -> ServingPlan:
        observed = Observed(deployment=there, services={"Production": services["led"]} if services else {})
        return plan(wanted, status("Production"), observed, HASH, NOW)

    assert decided(asked).actions == (SwitchService("Production", Lead("1", NOW, grpc=True)),)
    since = {"switched_at": NOW - timedelta(days=1)}
    led, without = leading(grpc=True, **since), leading(**since)
    assert told(decided(asked, led=led)) == ("True", "Serving")
    lead = Lead("1", since["switched_at"])
    assert decided(asked, led=without).actions == (SwitchService("Production", replace(lead, grpc=True)),)
    assert decided(version(), led=led).actions == (SwitchService("Production", lead),)


def test_pods_tell_the_worst_first() -> None:
    def pod(name: str, state: Object, *, ready: bool = False, last: Object | None = None) -> Object:
        container = {"state": state, "ready": ready, "lastState": {"terminated": last} if last else {}}
        return {"metadata": {"name": name}, "status": {"containerStatuses": [container]}}

    starts = pod("a", {"waiting": {"reason": "ContainerCreating"}})
    pulls = pod("b", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
    crashed = pod(
        "c", {"waiting": {"reason": "CrashLoopBackOff"}}, last={"exitCode": 78, "message": "bad digest"}
    )
    assert trouble_of([]).reason == "Starting"
    assert trouble_of([starts]).reason == "Starting"
    assert trouble_of([starts, pulls]) == Trouble("ImagePullBackOff", "pod b: no such image")
    assert "exit code 78 bad digest" in trouble_of([crashed]).message
    unready = trouble_of([pod("d", {"running": {}})])
    assert unready.reason == "NotReady"
    full = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no cpu"}
    waiting = {"metadata": {"name": "e"}, "status": {"conditions": [full]}}
    assert trouble_of([waiting]) == Trouble("Unschedulable", "pod e: no cpu")
