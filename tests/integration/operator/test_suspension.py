"""A training is suspended and goes on, on another machine if need be, and goes when its time is over."""

from datetime import UTC, datetime
from typing import Any

import pytest
from integration.operator.manifests import condition, gated, training_job

from mlinfra.kube.resource import JOBS, MODEL_VERSIONS, TRAINING_JOBS
from mlinfra_operator.conditions import timestamp

Object = dict[str, Any]


async def change(world: Any, name: str, **spec: Any) -> None:
    await world.kube.merge_patch(TRAINING_JOBS, name, {"spec": spec}, world.namespace)


async def test_a_suspended_training_goes_on_in_its_run_with_what_was_changed_meanwhile(
    world, operator, tracking, unique, mlinfra
) -> None:
    await world.apply(training_job(unique, **gated(0.8)))
    run_id = await world.run_id(unique)
    first = await world.job(unique)
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    await change(world, unique, suspend=True)
    suspended = await world.phase(unique, "Suspended")
    assert condition(suspended, "Suspended")["status"] == "True"
    assert condition(suspended, "Ready")["status"] == "True"
    assert await world.kube.find(JOBS, unique, world.namespace) is None
    assert tracking.get_run(run_id).info.status == "RUNNING"

    await change(world, unique, nodeSelector={"size": "large"}, activeDeadlineSeconds=600)
    await change(world, unique, suspend=False)
    second = await world.job(unique)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert second["spec"]["template"]["spec"]["nodeSelector"] == {"size": "large"}
    assert second["spec"]["activeDeadlineSeconds"] == 600
    assert await world.run_id(unique) == run_id
    await world.train(tracking, unique, 0.9)
    succeeded = await world.phase(unique, "Succeeded")
    assert condition(succeeded, "Suspended")["status"] == "False"
    await world.version_phase(f"{unique}-1", "Production")
    late = await mlinfra("suspend", unique)
    assert late.returncode == 2
    assert "has come to its end (Succeeded)" in late.stderr
    assert len(tracking.search_model_versions(f"name='{unique}'")) == 1
    reasons = {event["reason"] for event in await world.events(unique)}
    assert {"Suspended", "Resumed"} <= reasons


async def test_the_deadline_begins_anew_when_a_training_is_resumed(
    world, operator, unique, eventually
) -> None:
    await world.apply(training_job(unique, activeDeadlineSeconds=4))
    await world.run_pod(unique)
    before = await world.phase(unique, "Running")
    first = (await world.job(unique))["status"]["startTime"]
    await change(world, unique, suspend=True)
    await world.phase(unique, "Suspended")

    async def overdue() -> bool:
        return seconds_between(first, timestamp(datetime.now(UTC))) > 4

    await eventually(overdue, "the first deadline is over")
    await change(world, unique, suspend=False)
    await world.run_pod(unique)
    running = await world.phase(unique, "Running")
    assert running["status"]["startTime"] == before["status"]["startTime"]
    second = (await world.job(unique))["status"]["startTime"]
    assert seconds_between(first, second) >= 4
    failed = await world.phase(unique, "Failed")
    assert condition(failed, "Failed")["reason"] == "DeadlineExceeded"
    assert seconds_between(second, failed["status"]["completionTime"]) >= 4


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


async def test_a_training_that_begins_suspended_waits_without_a_job(world, operator, unique, mlinfra) -> None:
    await world.apply(training_job(unique, suspend=True))
    await world.phase(unique, "Suspended")
    assert await world.kube.find(JOBS, unique, world.namespace) is None
    operator.kill()
    resumed = await mlinfra("resume", f"trainingjob/{unique}")
    assert resumed.returncode == 0, resumed.stderr
    operator.start()
    await operator.ready()
    await world.job(unique)


@pytest.mark.parametrize("queued", [False, True], ids=["running", "held by a queue"])
async def test_what_was_changed_while_suspended_counts_though_the_operator_was_away(
    world, operator, unique, eventually, queued: bool
) -> None:
    await world.apply(training_job(unique, **({"queue": {"name": "team"}} if queued else {})))
    first, run_id = await world.job(unique), await world.run_id(unique)
    if queued:
        await world.phase(unique, "Queued")
    else:
        await world.run_pod(unique)
        await world.phase(unique, "Running")
    operator.kill()
    await change(world, unique, suspend=True)
    await change(world, unique, nodeSelector={"size": "large"}, activeDeadlineSeconds=600)
    await change(world, unique, suspend=False)
    operator.start()
    await operator.ready()

    async def another() -> Object | None:
        job = await world.kube.find(JOBS, unique, world.namespace)
        return job if job is not None and job["metadata"]["uid"] != first["metadata"]["uid"] else None

    second = await eventually(another, "a Job of the new spec")
    assert second["spec"]["template"]["spec"]["nodeSelector"] == {"size": "large"}
    assert second["spec"]["activeDeadlineSeconds"] == 600
    assert await world.run_id(unique) == run_id
    if queued:
        assert second["spec"]["suspend"] is True
        await world.phase(unique, "Queued")
        return
    await world.run_pod(unique)

    async def trains() -> bool:
        return condition(await world.training_job(unique), "Ready")["reason"] == "Training"

    await eventually(trains, "the training goes on")
    # What changes nothing for the pods leaves them.
    await change(world, unique, ttlSecondsAfterFinished=3600)

    async def seen() -> bool:
        job = await world.training_job(unique)
        return bool(job["status"]["observedGeneration"] == job["metadata"]["generation"])

    await eventually(seen, "the change is seen")
    assert (await world.job(unique))["metadata"]["uid"] == second["metadata"]["uid"]


async def test_a_training_goes_in_time_and_its_version_stays(
    world, operator, tracking, unique, eventually
) -> None:
    await world.apply(training_job(unique, ttlSecondsAfterFinished=1, **gated(0.8)))
    await world.train(tracking, unique, 0.9)

    async def gone() -> bool:
        return await world.kube.find(TRAINING_JOBS, unique, world.namespace) is None

    await eventually(gone, "the TrainingJob is deleted")
    await world.version_phase(f"{unique}-1", "Production")
    assert await world.kube.find(MODEL_VERSIONS, f"{unique}-1", world.namespace)
