"""What becomes of a request for a training while another one runs: it waits, or takes its place."""

from typing import Any

from integration.operator.manifests import condition, retraining_policy
from integration.operator.policy_status import (
    ask,
    only_training,
    policy,
    reaches,
    ready_because,
    trainings,
)
from servers.fault_proxy import Fault, on

from mlinfra.kube.resource import JOBS

Object = dict[str, Any]


async def running_training(world: Any, name: str, eventually: Any) -> str:
    """The name of the policy's one training, whose pod runs."""
    job = (await only_training(world, name, eventually))["metadata"]["name"]
    await world.run_pod(job)
    await world.phase(job, "Running")
    return str(job)


async def other_training(world: Any, name: str, earlier: str, eventually: Any) -> str:
    """The name of the policy's one training, once it is another one."""

    async def found() -> str | None:
        names = [job["metadata"]["name"] for job in await trainings(world, name)]
        return next((each for each in names if each != earlier), None)

    other = str(await eventually(found, f"a training of {name} other than {earlier}"))
    assert [job["metadata"]["name"] for job in await trainings(world, name)] == [other]
    return other


async def trains_only(world: Any, name: str, training: str, eventually: Any) -> Object:
    """The policy's status, once it tells of this active training and no other one."""

    async def told() -> Object | None:
        status: Object = (await policy(world, name))["status"]
        return status if [each["name"] for each in status.get("active") or ()] == [training] else None

    found: Object = await eventually(told, f"the status of {name} tells of {training} alone")
    return found


async def jobs_of(world: Any) -> list[str]:
    return [job["metadata"]["name"] for job in (await world.kube.list(JOBS, world.namespace))[0]]


async def test_forbid_keeps_a_request_waiting_says_so_and_answers_it_in_the_end(
    world, operator, tracking, unique, eventually
) -> None:
    await world.apply(retraining_policy(unique))
    assert (await policy(world, unique))["spec"]["concurrencyPolicy"] == "Forbid"
    await ask(world, unique, "1")
    first = await running_training(world, unique, eventually)
    await ask(world, unique, "2")
    held = await ready_because(world, unique, "TrainingActive", eventually)
    assert held["status"]["phase"] == "Training"
    assert condition(held, "Ready")["message"] == (
        f"manual training (mlinfra.io/retrain is 2): waits until {first} has come to its end"
    )
    assert {"TrainingActive"} <= {event["reason"] for event in await world.events(unique)}
    assert len(await trainings(world, unique)) == 1

    # A newer value takes the place of the one that waits.
    await ask(world, unique, "3")
    operator.kill()
    operator.start()
    await operator.ready()
    await world.train(tracking, first, 0.9)

    async def both() -> list[Object] | None:
        found = await trainings(world, unique)
        return found if len(found) > 1 else None

    (second,) = {job["metadata"]["name"] for job in await eventually(both, "the second training")} - {first}
    assert (await trains_only(world, unique, second, eventually))["lastManualRequest"] == "3"
    assert (await world.training_job(first))["status"]["phase"] == "Succeeded"


async def test_replace_stops_the_training_that_runs_and_one_new_one_is_there(
    world, operator, tracking, unique, eventually
) -> None:
    await world.apply(retraining_policy(unique, concurrencyPolicy="Replace"))
    await ask(world, unique, "1")
    first = await running_training(world, unique, eventually)
    first_run = await world.run_id(first)
    await ask(world, unique, "2")
    second = await other_training(world, unique, first, eventually)

    async def stopped() -> bool:
        return await jobs_of(world) == [second]

    await eventually(stopped, "the Job of the training that was replaced is gone, and its successor's there")

    async def ended() -> bool:
        return bool(tracking.get_run(first_run).info.status == "KILLED")

    await eventually(ended, "the run of the training that was replaced ends")

    async def told() -> Object | None:
        status = (await policy(world, unique))["status"]
        outcomes = [(each["name"], each["outcome"]) for each in status.get("history") or ()]
        return status if outcomes == [(first, "Deleted")] else None

    status = await eventually(told, "the history tells of the training that was replaced")
    assert [each["name"] for each in status["active"]] == [second]

    await world.train(tracking, second, 0.9)
    await world.version_phase(f"{unique}-1", "Production")
    await reaches(world, unique, "Idle", eventually)
    assert len(tracking.search_model_versions(f"name='{unique}'")) == 1


async def test_an_operator_killed_amid_a_replacement_goes_on_with_it(
    world, proxied_operator, proxy, unique, eventually
) -> None:
    """It dies after the deletion of the one training and before the creation of the other."""
    proxied_operator.start()
    await proxied_operator.ready()
    await world.apply(retraining_policy(unique, concurrencyPolicy="Replace"))
    await ask(world, unique, "1")
    first = await running_training(world, unique, eventually)
    away = proxy.inject(Fault(on("POST", "/trainingjobs"), 503, times=1000))
    await ask(world, unique, "2")

    async def amid() -> bool:
        return away.met > 0 and not await trainings(world, unique)

    await eventually(amid, "the first training is deleted, and no other one created")
    proxied_operator.kill()
    away.times = 0
    proxied_operator.start()
    await proxied_operator.ready()
    second = await other_training(world, unique, first, eventually)
    assert (await trains_only(world, unique, second, eventually))["lastManualRequest"] == "2"
