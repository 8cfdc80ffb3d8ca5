"""The Service by which pods find each other, deleted by somebody while they train."""

import asyncio
from typing import Any

import pytest
from unit.operator.objects import NAMESPACE, NOW, RUN_ID, child, run, training_job

from mlinfra.kube.informer import Informer
from mlinfra.kube.pulse import Pulse
from mlinfra.resources import TrainingJob
from mlinfra_operator.conditions import find
from mlinfra_operator.runtime.managed_services import watch_services
from mlinfra_operator.trainingjob.actions import Plan, RestorePeerService
from mlinfra_operator.trainingjob.companions import Companions
from mlinfra_operator.trainingjob.distribution import build_peer_service, derived_name
from mlinfra_operator.trainingjob.observed import Observed, Refusal
from mlinfra_operator.trainingjob.plan import plan

TRAINS: dict[str, Any] = {"active": 2, "ready": 2}


def planned(job: TrainingJob, facts: dict[str, Any], **observed: Any) -> Plan:
    seen = Observed(child=child(**facts), run=run(), unready_since=NOW, **observed)
    return plan(job, seen, NOW)


@pytest.mark.parametrize("facts", [TRAINS, {"active": 2}, {"active": 1, "ready": 1, "failed": 1}], ids=str)
def test_it_is_made_again_while_pods_train_or_start(facts: dict[str, Any]) -> None:
    job = training_job(numNodes=2)
    assert planned(job, facts, lacks_service=True).actions == (RestorePeerService(),)
    assert planned(job, facts).actions == ()


@pytest.mark.parametrize(
    ("facts", "spec"),
    [
        ({"deleting": True}, {}),
        ({"held": True}, {}),
        ({"complete": True, "succeeded": 2}, {}),
        ({"failure": ("BackoffLimitExceeded", "")}, {}),
        (TRAINS, {"suspend": True}),
    ],
    ids=str,
)
def test_it_is_not_missed_where_no_pods_are_to_meet(facts: dict[str, Any], spec: dict[str, Any]) -> None:
    job = training_job(numNodes=2, **spec)
    assert RestorePeerService() not in planned(job, facts, lacks_service=True).actions


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_refusal_ends_no_training_that_runs(status: int) -> None:
    refusal = Refusal(status, "Forbidden", "exceeded quota")
    decided = planned(training_job(numNodes=2), TRAINS, lacks_service=True, refusal=refusal)
    assert (decided.actions, decided.retry, decided.status.phase) == ((), True, "Running")
    found = find(decided.status.conditions, "Reconciling")
    assert found is not None
    assert (found.reason, "exceeded quota" in (found.message or "")) == ("ServiceNotCreated", True)
    assert [event.reason for event in decided.events if event.type == "Warning"] == ["ServiceNotCreated"]
    assert decided.status.mlflow is not None
    assert decided.status.mlflow.run_id == RUN_ID


class Server:
    """The part of an API server that applies."""

    def __init__(self) -> None:
        self.applied: list[dict[str, Any]] = []

    async def apply(self, manifest: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.applied.append(manifest)
        version = {"uid": "service", "resourceVersion": str(len(self.applied))}
        return {**manifest, "metadata": manifest["metadata"] | version}


def watched(server: Any, gone: list[tuple[str, str]]) -> Informer:
    return watch_services(
        server,
        None,
        on_model_service_gone=lambda obj: gone.append(("model", obj["metadata"]["name"])),
        on_peer_service_gone=lambda *key: gone.append(key),
        pulse=Pulse(),
    )


def test_it_is_known_to_be_gone_from_the_watch_alone() -> None:
    server: Any = Server()
    services = watched(server, [])
    companions, job = Companions(server, services, gang_offered=False), training_job(numNodes=2)
    # Before the first list nothing is known.
    assert not companions.lacks_service(job)
    services.synced.set()
    assert companions.lacks_service(job)
    assert not companions.lacks_service(training_job())
    asyncio.run(companions.ensure(job))
    assert not companions.lacks_service(job)
    assert [each["metadata"]["name"] for each in server.applied] == [derived_name(job)]
    asyncio.run(companions.ensure(training_job()))
    assert len(server.applied) == 1


class Stored:
    """An API server with these Services, of which the watch then tells that they are deleted."""

    def __init__(self, *services: dict[str, Any]) -> None:
        self.services = list(services)
        self.selectors: set[str] = set()

    async def list(self, *_: Any, label_selector: str, **__: Any) -> tuple[list[dict[str, Any]], str]:
        self.selectors.add(label_selector)
        return self.services, "2"

    async def watch(self, *_: Any, **__: Any) -> Any:
        for service in self.services:
            yield type("Event", (), {"type": "DELETED", "object": service})
        await asyncio.Event().wait()


def test_whose_service_is_gone_is_looked_at() -> None:
    peers = build_peer_service(training_job(numNodes=2))
    peers["metadata"] |= {"uid": "1", "resourceVersion": "1"}
    labels = {"mlinfra.io/managed": "true", "mlinfra.io/model": "model"}
    named = {"name": "model", "namespace": NAMESPACE, "uid": "2", "resourceVersion": "2"}
    server, gone = Stored(peers, {"metadata": named | {"labels": labels}}), []

    async def told() -> None:
        task = asyncio.create_task(watched(server, gone).run())
        while len(gone) < 2:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(asyncio.wait_for(told(), 5))
    assert gone == [(NAMESPACE, "job"), ("model", "model")]
    (selector,) = server.selectors
    name, _, value = selector.partition("=")
    assert peers["metadata"]["labels"][name] == value
