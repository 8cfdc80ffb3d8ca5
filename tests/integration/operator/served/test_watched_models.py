"""A policy asks the served model's monitors, trains on a breach, and takes back what does worse."""

import sys
from typing import Any

from integration.operator.manifests import condition, retraining_policy
from integration.operator.policy_status import policy as policy_now
from integration.operator.policy_status import ready_because
from integration.operator.served.traffic import stand_in, traffic, variables
from integration.operator.served.versions import register, serving, version

from mlinfra.kube.resource import MODEL_VERSIONS, RETRAINING_POLICIES, TRAINING_JOBS
from mlinfra.resources.names import (
    CHECK_ANNOTATION,
    CLOSE_BREAKER_ANNOTATION,
    EVIDENCE_ANNOTATION,
    RETRAINING_POLICY_LABEL,
)

Object = dict[str, Any]
ASKED_OFTEN = {"intervalSeconds": 1}


def check(outcome: str, score: float, *, at: str, **facts: Any) -> Object:
    return {"result": {"outcome": outcome, "score": score, "windowEnd": at, **facts}}


def report(number: str, *, drift: tuple[str, float] | None, accuracy: tuple[str, float]) -> Object:
    at = "2026-01-02T00:00:00Z"
    measured = check(
        accuracy[0],
        accuracy[1],
        at=at,
        trigger="performance",
        metric="accuracy",
        modelVersion=number,
        message=f"accuracy {accuracy[1]}",
    )
    found: Object = {"performance": measured}
    if drift is not None:
        found["drift"] = check(
            *drift, at=at, trigger="drift", metric="PSI", modelVersion=number, message=f"PSI {drift[1]}"
        )
    return found


async def status_of(world: Any, eventually: Any, name: str, field: str) -> Object:
    """The policy's status once it has a field."""

    async def told() -> Object | None:
        found = (await world.kube.get(RETRAINING_POLICIES, name, world.namespace)).get("status") or {}
        return found if found.get(field) else None

    status: Object = await eventually(told, f"{field} of {name}")
    return status


async def test_drift_with_a_loss_of_performance_trains_and_says_why(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, 1)
    said = report("1", drift=("breached", 0.31), accuracy=("breached", 0.52))
    served = stand_in(env=variables(REPORT=said))
    await version(world, f"{unique}-1", unique, "1", stage="Production", serving=served)
    await serving(world, eventually, f"{unique}-1", "True")
    policy = retraining_policy(unique, drift={"threshold": 0.2}, performance={}, monitoring=ASKED_OFTEN)
    policy["spec"]["trainingJobTemplate"]["spec"]["suspend"] = True
    await world.apply(policy)

    async def created() -> list[Object]:
        selector = f"{RETRAINING_POLICY_LABEL}={unique}"
        return (await world.kube.list(TRAINING_JOBS, world.namespace, label_selector=selector))[0]

    (job,) = await eventually(created, "a TrainingJob")
    annotations = job["metadata"]["annotations"]
    assert annotations["mlinfra.io/trigger"] == "performance"
    assert "PSI" in annotations[EVIDENCE_ANNOTATION]

    async def lineage() -> Object | None:
        found = await world.training_job(job["metadata"]["name"])
        return (found.get("status") or {}).get("lineage")

    why = await eventually(lineage, "the lineage of the training")
    assert [each["trigger"] for each in why["evidence"]] == ["performance", "drift"]
    assert why["message"].startswith("accuracy 0.52")
    status = await status_of(world, eventually, unique, "lastDriftScore")
    assert (status["lastDriftScore"], status["lastPerformanceScore"]) == ("0.31", "0.52")
    # The same window asks once, however often it is looked at.
    checked = status["lastDriftCheckTime"]

    async def again() -> bool:
        found = await world.kube.get(RETRAINING_POLICIES, unique, world.namespace)
        return bool(found["status"]["lastDriftCheckTime"] > checked)

    await eventually(again, "one more check")
    assert len(await created()) == 1


async def test_two_trainings_that_did_not_help_have_the_monitors_wait_for_much_newer_windows(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, 1)
    name = f"{unique}-1"

    async def say(day: int) -> None:
        said = report("1", drift=None, accuracy=("breached", 0.5))
        at = {"windowStart": f"2026-01-{day:02}T01:00:00Z", "windowEnd": f"2026-01-{day + 1:02}T00:00:00Z"}
        said["performance"]["result"] |= at
        served = stand_in(env=variables(REPORT=said))
        await version(world, name, unique, "1", stage="Production", serving=served)

    await say(1)
    await serving(world, eventually, name, "True")
    policy = retraining_policy(unique, performance={}, monitoring=ASKED_OFTEN, failedJobsHistoryLimit=10)
    fails = {"command": [sys.executable, "-c", "raise SystemExit(3)"]}
    policy["spec"]["trainingJobTemplate"]["spec"] |= fails
    await world.apply(policy)

    async def fruitless(count: int) -> None:
        async def told() -> bool:
            found = await world.kube.get(RETRAINING_POLICIES, unique, world.namespace)
            return bool((found.get("status") or {}).get("fruitlessTrainings") == count)

        await eventually(told, f"{count} fruitless trainings", seconds=120)

    await fruitless(1)
    # Newer as a whole: after one of them that is enough.
    await say(2)
    await fruitless(2)
    await say(3)
    held = await ready_because(world, unique, "BackingOff", eventually)
    assert "2026-01-03T23:00:00Z or later" in condition(held, "Ready")["message"]
    await say(4)
    await fruitless(3)
    names = {each["name"] for each in (await policy_now(world, unique))["status"]["history"]}
    assert len(names) == 3


async def test_a_check_is_made_at_once_where_the_annotation_asks(
    world, operator, operator_process, unique, eventually
) -> None:
    policy = retraining_policy(unique, drift={}, monitoring={"intervalSeconds": 86_400})
    for number, value in enumerate(("first", "second", "after a restart")):
        policy["metadata"]["annotations"] = {CHECK_ANNOTATION: value}
        if number == 2:
            operator_process.kill()
        await world.apply(policy)
        if number == 2:
            operator_process.start()

        async def answered(value: str = value) -> bool:
            found = (await world.kube.get(RETRAINING_POLICIES, unique, world.namespace)).get("status") or {}
            return bool(found.get("lastCheckRequest") == value)

        await eventually(answered, f"an answer to {value}")


async def test_a_server_that_does_not_answer_is_told_and_trains_nothing(
    world, operator, unique, eventually
) -> None:
    policy = retraining_policy(unique, drift={}, monitoring=ASKED_OFTEN)
    await world.apply(policy)
    status = await status_of(world, eventually, unique, "monitors")
    assert [each["outcome"] for each in status["monitors"]] == ["error", "error"]
    assert "no version of the model in Production is served" in status["monitors"][0]["message"]
    found = await world.kube.get(RETRAINING_POLICIES, unique, world.namespace)
    assert condition(found, "ModelHealthy")["reason"] == "CheckFailed"
    assert (await world.kube.list(TRAINING_JOBS, world.namespace))[0] == []


async def test_a_new_version_that_does_worse_gives_way_and_the_breaker_opens(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, 2)
    first, second = f"{unique}-1", f"{unique}-2"
    good = stand_in(env=variables(REPORT=report("1", drift=None, accuracy=("ok", 0.8))))
    await version(world, first, unique, "1", stage="Production", serving=good)
    endpoint = (await serving(world, eventually, first, "True"))["status"]["endpoint"]
    await world.apply(
        retraining_policy(unique, performance={}, rollback={"maxLoss": 0.05}, monitoring=ASKED_OFTEN)
    )
    status = await status_of(world, eventually, unique, "productionPerformance")
    assert status["productionPerformance"]["score"] == "0.8"
    async with traffic(endpoint) as seen:
        bad = stand_in(env=variables(REPORT=report("2", drift=None, accuracy=("breached", 0.6))))
        source = {"retrainingPolicy": unique, "trigger": "drift"}
        await version(world, second, unique, "2", stage="Production", serving=bad, source=source)
        status = await status_of(world, eventually, unique, "trial")
        assert (status["trial"]["version"], status["trial"]["previous"]) == ("2", "1")
        status = await status_of(world, eventually, unique, "circuitBreaker")
        assert status["circuitBreaker"]["version"] == "2"
        await serving(world, eventually, first, "True", "Serving")
        await world.version_phase(second, "Archived")
        seen.answers.clear()
        await eventually(lambda: seen.told(f"models:/{unique}/1"), "answers of version 1 again")
    assert seen.failures == []
    assert tracking.get_model_version_by_alias(unique, "production").version == "1"
    assert (await world.kube.get(MODEL_VERSIONS, second, world.namespace))["spec"]["stage"] == "Archived"
    annotated = {"metadata": {"annotations": {CLOSE_BREAKER_ANNOTATION: "looked at it"}}}
    await world.kube.merge_patch(RETRAINING_POLICIES, unique, annotated, world.namespace)

    async def closed() -> bool:
        found = await world.kube.get(RETRAINING_POLICIES, unique, world.namespace)
        return condition(found, "CircuitBreakerOpen")["status"] == "False"

    await eventually(closed, "the breaker is closed")
