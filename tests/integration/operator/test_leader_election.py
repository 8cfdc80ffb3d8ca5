"""Two replicas: one works, and where it dies the other goes on within the lease's time, nothing twice."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from integration.operator.conftest import OperatorProcess
from integration.operator.manifests import gated, training_job
from servers.fault_proxy import Fault, on

from mlinfra.kube.resource import JOBS, LEASES, MODEL_VERSIONS
from mlinfra.local.operator_access import NAMESPACE
from mlinfra_operator.runtime.lease import LeaseTimes

TAKE_OVER_SECONDS = LeaseTimes().duration + LeaseTimes().retry + 1.5
"""A lease lives on from when it is looked at, which is every 2 s; the rest is for a busy machine."""


@pytest.fixture
def second(
    operator_process: OperatorProcess, operator_kubeconfig: Path, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """A second replica, not started."""
    second = OperatorProcess(
        operator_kubeconfig,
        operator_process.tracking_uri,
        operator_process.namespace,
        tmp_path / "standby.log",
        identity="second",
    )
    second.log.touch()
    yield second
    second.kill()


@pytest.fixture
def standby(operator: OperatorProcess, second: OperatorProcess) -> OperatorProcess:
    """A second replica, started after the first one leads."""
    second.start()
    return second


async def holder(world: Any) -> str | None:
    lease = await world.kube.get(LEASES, f"mlinfra-operator-{world.namespace}", NAMESPACE)
    found: str | None = lease["spec"].get("holderIdentity")
    return found


async def leads(world: Any, identity: str, eventually: Any) -> None:
    async def followed() -> bool:
        return await holder(world) == identity

    await eventually(followed, f"{identity} leads", seconds=TAKE_OVER_SECONDS)


async def is_standing_by(standby: OperatorProcess, eventually: Any) -> None:
    async def told() -> bool:
        assert standby.process is not None
        assert standby.process.poll() is None, standby.log.read_text()
        return "standby: first holds the lease" in standby.log.read_text()

    await eventually(told, "the second replica stands by")


async def test_a_killed_leader_is_followed_within_the_leases_time_and_nothing_is_done_twice(
    world, operator, standby, tracking, unique, eventually
) -> None:
    await is_standing_by(standby, eventually)
    assert await holder(world) == "first"
    await world.apply(training_job(unique, **gated(0.8)))
    run_id = await world.run_id(unique)
    await world.run_pod(unique)
    operator.kill()
    late = f"{unique}-late"
    await world.apply(training_job(late))

    async def goes_on() -> bool:
        return await world.kube.find(JOBS, late, world.namespace) is not None

    await eventually(goes_on, "the work goes on", seconds=TAKE_OVER_SECONDS)
    assert await holder(world) == "second"
    await world.train(tracking, unique, 0.9)
    await world.version_phase(f"{unique}-1", "Production")
    assert await world.run_id(unique) == run_id
    assert len(tracking.search_model_versions(f"name='{unique}'")) == 1
    experiment = tracking.get_experiment_by_name(unique)
    assert len(tracking.search_runs([experiment.experiment_id])) == 1


async def test_a_leader_that_ends_well_gives_the_lease_back(world, operator, standby, eventually) -> None:
    await is_standing_by(standby, eventually)
    assert operator.stop() == 0

    async def followed() -> bool:
        return await holder(world) == "second"

    await eventually(followed, "the second replica leads", seconds=8)


async def test_a_leader_that_ends_keeps_the_lease_while_mlflow_works_for_it(
    world, operator_process, second, mlflow_proxy, tracking, unique, eventually
) -> None:
    first = operator_process
    first.tracking_uri = mlflow_proxy.url
    # However busy the machine is, it is still waiting for the answer when it is told to end.
    first.environment["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "60"
    first.start()
    await first.ready()
    second.start()
    await is_standing_by(second, eventually)
    slow = Fault(on("POST", "/model-versions/create"), None, hold=asyncio.Event())
    mlflow_proxy.inject(slow)
    await world.apply(training_job(unique, **gated(0.8)))
    await world.train(tracking, unique, 0.9)

    async def registers() -> bool:
        return slow.met > 0

    await eventually(registers, "the version is being registered")
    ending = asyncio.create_task(asyncio.to_thread(first.stop))

    async def waits() -> bool:
        return "calls that run are waited for" in first.log.read_text()

    await eventually(waits, "the leader waits for its call")
    assert await holder(world) == "first"
    assert slow.hold is not None
    slow.hold.set()
    assert await ending == 0
    await leads(world, "second", eventually)
    await world.version_phase(f"{unique}-1", "Production")
    await world.phase(unique, "Succeeded")
    assert len(tracking.search_model_versions(f"name='{unique}'")) == 1


async def test_a_leader_that_lost_its_lease_starts_over_and_stands_by(world, operator, eventually) -> None:
    name = f"mlinfra-operator-{world.namespace}"
    await world.kube.merge_patch(LEASES, name, {"spec": {"holderIdentity": "other"}}, NAMESPACE)

    async def told() -> bool:
        return "standby: other holds the lease" in operator.log.read_text()

    await eventually(told, "the operator stands by")
    assert "the operator cannot go on, and starts over" in operator.log.read_text()
    await leads(world, "first", eventually)
    assert operator.stop() == 0


def pausing(operator: OperatorProcess, matches: Callable[[web.Request], bool]) -> Fault:
    """Stops the operator, as a machine that is frozen does, at the first request of a kind."""
    stopped = False

    def stop(request: web.Request) -> bool:
        nonlocal stopped
        if not stopped and matches(request):
            assert operator.process is not None
            operator.process.send_signal(signal.SIGSTOP)
            stopped = True
        return False

    return Fault(stop, None)


@pytest.mark.parametrize("amid", ["/jobs", "/modelversions"])
async def test_a_leader_that_was_paused_beyond_its_lease_steps_down_and_does_nothing_twice(
    amid, world, proxied_operator, second, proxy, tracking, unique, eventually
) -> None:
    first, late = proxied_operator, f"{unique}-late"
    first.environment["MLINFRA_LEADER_ELECTION"] = "true"
    del first.environment["MLINFRA_WATCH_SILENCE_SECONDS"]
    first.start()
    await first.ready()
    second.start()
    await is_standing_by(second, eventually)
    proxy.inject(pausing(first, on("POST", amid)))
    await world.apply(training_job(unique, **gated(0.8)))
    if amid == "/modelversions":
        await world.train(tracking, unique, 0.9)
    await leads(world, "second", eventually)
    if amid == "/jobs":
        await world.train(tracking, unique, 0.9)
    # What it slept through reaches the first one all at once.
    await world.apply(training_job(late, **gated(0.8)))
    await world.train(tracking, late, 0.9)
    for name in (unique, late):
        await world.version_phase(f"{name}-1", "Production")
        await world.phase(name, "Succeeded")
    jobs, versions = await listed(world, JOBS), await listed(world, MODEL_VERSIONS)
    since = len(proxy.seen)
    assert first.process is not None
    first.process.send_signal(signal.SIGCONT)

    async def stepped_down() -> bool:
        log = first.log.read_text()
        return "LeaseLostError" in log and "standby: second holds the lease" in log

    await eventually(stepped_down, "the first replica stands by")
    assert await holder(world) == "second"
    assert first.process.poll() is None
    done = [seen for seen in proxy.seen[since:] if seen.method != "GET" and seen.status < 300]
    assert done == []
    assert (await listed(world, JOBS), await listed(world, MODEL_VERSIONS)) == (jobs, versions)
    for name in (unique, late):
        experiment = tracking.get_experiment_by_name(name)
        assert len(tracking.search_runs([experiment.experiment_id])) == 1
        assert len(tracking.search_model_versions(f"name='{name}'")) == 1


async def listed(world: Any, resource: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await world.kube.list(resource, world.namespace))[0]
    return found
