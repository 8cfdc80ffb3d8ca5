"""A queue holds a training, admits it with a changed pod template, takes its place and gives it back."""

import time
from datetime import datetime
from typing import Any

import pytest
from integration.operator.kueue_stand_in import Kueue
from integration.operator.manifests import condition, gated, training_job

from mlinfra.kube.resource import JOBS, PODS, SERVICES, TRAINING_JOBS
from mlinfra.resources.names import QUEUE_LABEL, QUEUE_PRIORITY_LABEL

Object = dict[str, Any]
QUEUE = {"name": "team", "priorityClass": "urgent"}


@pytest.fixture
def kueue(kube: Any, namespace: str, eventually: Any) -> Kueue:
    return Kueue(kube, namespace, eventually)


async def reason_told(world: Any, eventually: Any, name: str, reason: str) -> Object:
    async def told() -> Object | None:
        job: Object = await world.training_job(name)
        return job if condition(job, "Reconciling")["reason"] == reason else None

    found: Object = await eventually(told, f"TrainingJob {name} says {reason}")
    return found


def age_of(job: Object) -> float:
    return time.time() - datetime.fromisoformat(job["metadata"]["creationTimestamp"]).timestamp()


async def test_a_queue_admits_evicts_and_admits_again_and_only_the_queue_writes_the_job(
    world, operator, kueue, tracking, unique, eventually
) -> None:
    await world.apply(training_job(unique, queue=QUEUE, nodeSelector={"zone": "a"}, **gated(0.8)))
    waiting = await world.phase(unique, "Queued")
    assert condition(waiting, "Reconciling")["reason"] == "Queued"
    held = await world.job(unique)
    assert held["spec"]["suspend"] is True
    assert held["metadata"]["labels"][QUEUE_LABEL] == "team"
    assert held["metadata"]["labels"][QUEUE_PRIORITY_LABEL] == "urgent"
    assert not (await world.kube.list(PODS, world.namespace))[0]

    await kueue.admit(unique)
    await world.phase(unique, "Pending")
    await world.run_pod(unique)
    running = await world.phase(unique, "Running")
    assert running["status"]["attempts"] == 1
    pod = await world.pod(unique)
    assert pod["spec"]["nodeSelector"] == {"zone": "a", "flavor": "spot"}
    assert pod["metadata"]["labels"]["kueue.x-k8s.io/local-queue-name"] == "team"

    evicted = await kueue.evict(unique)
    assert evicted["spec"]["template"]["spec"]["nodeSelector"] == {"zone": "a"}
    assert "startTime" not in evicted["status"]
    told = await reason_told(world, eventually, unique, "Evicted")
    assert told["status"]["phase"] == "Queued"
    assert told["status"]["startTime"] == running["status"]["startTime"]

    await kueue.admit(unique, {"nodeSelector": {"flavor": "reserved"}, "tolerations": []})
    await world.phase(unique, "Pending")
    await world.train(tracking, unique, 0.9)
    done = await world.phase(unique, "Succeeded")
    child = await world.job(unique)
    # Nothing of the operator's: Kueue wrote the spec four times, after the one write that created it.
    assert child["metadata"]["generation"] == 5
    assert child["metadata"]["uid"] == held["metadata"]["uid"]
    assert child["status"].get("failed", 0) == 0
    assert done["status"]["attempts"] == 2
    await world.version_phase(f"{unique}-1", "Production")
    reasons = [event["reason"] for event in await world.events(unique)]
    assert {"Queued", "Admitted", "Evicted"} <= set(reasons)


async def test_a_training_is_suspended_while_it_is_admitted_and_queues_again_when_resumed(
    world, operator, kueue, tracking, unique, eventually
) -> None:
    await world.apply(training_job(unique, queue={"name": "team"}, **gated(0.8)))
    await world.phase(unique, "Queued")
    run_id = await world.run_id(unique)
    await kueue.admit(unique)
    await world.phase(unique, "Pending")
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    first = await world.job(unique)
    await world.kube.merge_patch(TRAINING_JOBS, unique, {"spec": {"suspend": True}}, world.namespace)
    await world.phase(unique, "Suspended")
    assert await world.kube.find(JOBS, unique, world.namespace) is None

    await world.kube.merge_patch(TRAINING_JOBS, unique, {"spec": {"suspend": False}}, world.namespace)
    again = await world.phase(unique, "Queued")
    assert condition(again, "Reconciling")["reason"] == "Queued"
    second = await world.job(unique)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert (second["spec"]["suspend"], second["metadata"]["labels"][QUEUE_LABEL]) == (True, "team")
    assert await world.run_id(unique) == run_id
    # To suspend one that still waits ends its place in the queue too.
    await world.kube.merge_patch(TRAINING_JOBS, unique, {"spec": {"suspend": True}}, world.namespace)
    await world.phase(unique, "Suspended")
    await world.kube.merge_patch(TRAINING_JOBS, unique, {"spec": {"suspend": False}}, world.namespace)
    await world.phase(unique, "Queued")
    await kueue.admit(unique)
    await world.phase(unique, "Pending")
    await world.train(tracking, unique, 0.9)
    done = await world.phase(unique, "Succeeded")
    assert done["status"]["attempts"] == 2


async def test_neither_deadline_nor_time_to_live_runs_while_a_training_is_held(
    world, operator, kueue, unique, eventually
) -> None:
    await world.apply(
        training_job(unique, queue=QUEUE, activeDeadlineSeconds=1, ttlSecondsAfterFinished=1, backoffLimit=9)
    )
    await world.phase(unique, "Queued")
    held = await world.job(unique)

    async def overdue() -> bool:
        return age_of(held) > 2

    await eventually(overdue, "both times are over")
    operator.kill()
    operator.start()
    await operator.ready()
    assert (await world.phase(unique, "Queued"))["status"].get("completionTime") is None
    await kueue.admit(unique)
    failed = await world.phase(unique, "Failed")
    assert condition(failed, "Failed")["reason"] == "DeadlineExceeded"

    async def gone() -> bool:
        return await world.kube.find(TRAINING_JOBS, unique, world.namespace) is None

    await eventually(gone, "the TrainingJob is deleted")


async def test_neither_time_runs_after_an_eviction_and_the_deadline_begins_anew(
    world, operator, kueue, unique, eventually
) -> None:
    await world.apply(
        training_job(unique, queue=QUEUE, activeDeadlineSeconds=5, ttlSecondsAfterFinished=1, backoffLimit=9)
    )
    await world.phase(unique, "Queued")
    await kueue.admit(unique)
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    first = (await world.job(unique))["status"]["startTime"]
    await kueue.evict(unique)
    evicted = await reason_told(world, eventually, unique, "Evicted")
    assert evicted["status"].get("completionTime") is None

    async def overdue() -> bool:
        return time.time() - datetime.fromisoformat(first).timestamp() > 6

    await eventually(overdue, "both times are over")
    operator.kill()
    operator.start()
    await operator.ready()
    assert (await world.phase(unique, "Queued"))["status"].get("completionTime") is None
    await kueue.admit(unique)
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    second = (await world.job(unique))["status"]["startTime"]
    failed = await world.phase(unique, "Failed")
    assert condition(failed, "Failed")["reason"] == "DeadlineExceeded"
    ran = datetime.fromisoformat(failed["status"]["completionTime"]) - datetime.fromisoformat(second)
    assert ran.total_seconds() >= 5

    async def gone() -> bool:
        return await world.kube.find(TRAINING_JOBS, unique, world.namespace) is None

    await eventually(gone, "the TrainingJob is deleted")


async def test_a_training_of_two_pods_is_admitted_where_the_queue_says(
    world, operator, kueue, unique, eventually
) -> None:
    await world.apply(training_job(unique, queue=QUEUE, numNodes=2, nodeSelector={"zone": "a"}))
    await world.phase(unique, "Queued")
    held = await world.job(unique)
    assert (held["spec"]["parallelism"], held["spec"]["completions"]) == (2, 2)

    async def pods(selector: Object) -> list[Object] | None:
        found, _ = await world.kube.list(PODS, world.namespace)
        there = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        placed = [pod for pod in there if pod["spec"].get("nodeSelector") == selector]
        return placed if len(placed) == len(there) == 2 else None

    for flavor in ("spot", "reserved"):
        selector = {"zone": "a", "flavor": flavor}
        await kueue.admit(unique, {"nodeSelector": {"flavor": flavor}, "tolerations": []})
        await world.phase(unique, "Pending")
        both = await eventually(lambda selector=selector: pods(selector), f"two pods on {flavor}")
        names = sorted(pod["spec"]["hostname"] for pod in both)
        assert names == [f"{unique}-0", f"{unique}-1"]
        subdomains = {pod["spec"]["subdomain"] for pod in both}
        assert await world.kube.get(SERVICES, subdomains.pop(), world.namespace)
        assert subdomains == set()
        if flavor == "spot":
            await kueue.evict(unique)
            await reason_told(world, eventually, unique, "Evicted")

            async def none() -> bool:
                return not (await world.kube.list(PODS, world.namespace))[0]

            await eventually(none, "no pods while it waits")
    assert (await world.job(unique))["metadata"]["uid"] == held["metadata"]["uid"]


async def test_an_operator_that_was_away_meanwhile_tells_of_the_eviction_and_the_admission(
    world, operator, kueue, tracking, unique, eventually
) -> None:
    await world.apply(training_job(unique, queue=QUEUE, **gated(0.8)))
    await world.phase(unique, "Queued")
    await kueue.admit(unique)
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    operator.kill()
    await kueue.evict(unique)
    operator.start()
    await operator.ready()
    await reason_told(world, eventually, unique, "Evicted")
    operator.kill()
    await kueue.admit(unique)
    await world.train(tracking, unique, 0.9)
    operator.start()
    await operator.ready()
    assert (await world.phase(unique, "Succeeded"))["status"]["attempts"] == 2
