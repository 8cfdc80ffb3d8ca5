"""RetrainingPolicies on a real API server: what a person, a clock and a restart make of them."""

from datetime import datetime
from typing import Any

from integration.operator.manifests import IMAGE_DIGEST, condition, retraining_policy
from integration.operator.policy_status import ask, only_training, policy, reaches, trainings

from mlinfra.kube.resource import RETRAINING_POLICIES
from mlinfra.tracking.contract import RETRAINING_POLICY_TAG, TRIGGER_TAG

Object = dict[str, Any]


async def test_a_person_asks_and_the_version_tells_why_it_exists(
    world, operator, tracking, unique, eventually
) -> None:
    await world.apply(retraining_policy(unique))
    await reaches(world, unique, "Idle", eventually)
    await ask(world, unique, "new data of May")
    job = await only_training(world, unique, eventually)
    name = job["metadata"]["name"]
    told = (await reaches(world, unique, "Training", eventually))["status"]
    assert [(each["name"], each["trigger"]) for each in told["active"]] == [(name, "manual")]
    assert told["lastManualRequest"] == "new data of May"
    run_id = await world.train(tracking, name, 0.9)
    await world.phase(name, "Succeeded")
    version = await world.version_phase(f"{unique}-1", "Production")
    assert version["spec"]["source"] == {
        "runID": run_id,
        "trainingJob": name,
        "retrainingPolicy": unique,
        "trigger": "manual",
        "message": "mlinfra.io/retrain is new data of May",
        "imageDigest": IMAGE_DIGEST,
    }
    tags = tracking.get_run(run_id).data.tags
    assert tags[RETRAINING_POLICY_TAG] == f"{world.namespace}/{unique}"
    assert tags[TRIGGER_TAG] == "manual"
    told = (await reaches(world, unique, "Idle", eventually))["status"]
    assert [(each["name"], each["outcome"]) for each in told["history"]] == [(name, "Succeeded")]
    assert {"TrainingStarted"} <= {event["reason"] for event in await world.events(unique)}


async def test_an_operator_killed_after_each_step_trains_each_request_once(
    world, operator, unique, eventually
) -> None:
    await world.apply(retraining_policy(unique, concurrencyPolicy="Allow"))
    for number in (1, 2):
        await ask(world, unique, f"request {number}")
        operator.kill()
        operator.start()
        await operator.ready()

        async def answered(number: int = number) -> bool:
            return len(await trainings(world, unique)) == number

        await eventually(answered, f"{number} trainings")
    operator.kill()
    operator.start()
    await operator.ready()

    async def told() -> bool:
        return len((await policy(world, unique)).get("status", {}).get("active", ())) == 2

    await eventually(told, "both are told of")
    assert len(await trainings(world, unique)) == 2


async def test_the_schedule_starts_a_training_at_its_time(world, operator, unique, eventually) -> None:
    await world.apply(retraining_policy(unique, schedule="* * * * *", timeZone="Asia/Kolkata"))
    idle = (await reaches(world, unique, "Idle", eventually))["status"]
    due = idle["nextScheduledTime"]
    assert datetime.fromisoformat(due).second == 0
    job = await only_training(world, unique, eventually, seconds=75)
    created = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
    assert created >= datetime.fromisoformat(due)
    told = (await reaches(world, unique, "Training", eventually))["status"]
    assert told["lastScheduleTime"] == due
    assert told["active"][0]["trigger"] == "scheduled"


async def test_limits_are_told_and_history_is_kept_short(
    world, operator, tracking, unique, eventually
) -> None:
    await world.apply(retraining_policy(unique, maxRunsPerDay=2, successfulJobsHistoryLimit=1))
    for number in (1, 2):
        await ask(world, unique, str(number))

        async def active() -> Object | None:
            jobs = await trainings(world, unique)
            return next((job for job in jobs if "completionTime" not in job.get("status", {})), None)

        job = await eventually(active, f"training {number}")
        await world.train(tracking, job["metadata"]["name"], 0.9)
        await world.phase(job["metadata"]["name"], "Succeeded")

    async def one_is_kept() -> bool:
        return len(await trainings(world, unique)) == 1

    await eventually(one_is_kept, "the older training is deleted")
    await ask(world, unique, "3")
    held = await reaches(world, unique, "Held", eventually)
    assert condition(held, "Ready")["reason"] == "MaxRunsPerDayReached"
    assert len(held["status"]["history"]) == 2


async def test_a_policy_that_goes_takes_its_trainings_along(world, operator, unique, eventually) -> None:
    await world.apply(retraining_policy(unique))
    await ask(world, unique, "1")
    await only_training(world, unique, eventually)
    await world.kube.delete(RETRAINING_POLICIES, unique, world.namespace)

    async def gone() -> bool:
        return not await trainings(world, unique)

    await eventually(gone, "the TrainingJob is deleted")


async def test_a_schedule_that_is_none_is_told_and_can_be_mended(world, operator, unique, eventually) -> None:
    await world.apply(retraining_policy(unique, schedule="61 3 * * *"))
    invalid = await reaches(world, unique, "Invalid", eventually)
    assert condition(invalid, "Stalled")["reason"] == "InvalidSchedule"
    await world.apply(retraining_policy(unique, schedule="6 3 * * *"))
    mended = await reaches(world, unique, "Idle", eventually)
    assert condition(mended, "Ready")["status"] == "True"


async def test_the_command_line_asks_for_a_training(world, operator, unique, eventually, mlinfra) -> None:
    await world.apply(retraining_policy(unique, suspend=True))
    done = await mlinfra("retrain", unique)
    assert done.returncode == 0, done.stderr
    assert f"retrainingpolicy.mlinfra.io/{unique} asked for a training" in done.stdout
    await only_training(world, unique, eventually)
    failed = await mlinfra("retrain", "absent")
    assert failed.returncode == 1
    assert f"there is no RetrainingPolicy absent in namespace {world.namespace}" in failed.stderr
