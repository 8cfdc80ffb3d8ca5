"""Two replicas: one works, and where it dies the other goes on within the lease's time, nothing twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.operator.conftest import OperatorProcess
from integration.operator.manifests import gated, training_job

from mlinfra.kube.resource import LEASES
from mlinfra.local.operator_access import NAMESPACE

TAKE_OVER_SECONDS = 25.0
"""A lease lives for 15 s and is looked at every 2 s; the rest is for a busy machine."""


@pytest.fixture
def standby(operator: OperatorProcess, tmp_path: Path) -> Iterator[OperatorProcess]:
    """A second replica, started after the first one leads."""
    second = OperatorProcess(
        operator.kubeconfig,
        operator.tracking_uri,
        operator.namespace,
        tmp_path / "standby.log",
        identity="second",
    )
    second.log.touch()
    second.start()
    yield second
    second.kill()


async def holder(world: Any) -> str | None:
    lease = await world.kube.get(LEASES, f"mlinfra-operator-{world.namespace}", NAMESPACE)
    found: str | None = lease["spec"].get("holderIdentity")
    return found


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

    async def followed() -> bool:
        return await holder(world) == "second"

    await eventually(followed, "the second replica leads", seconds=TAKE_OVER_SECONDS)
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


async def test_a_leader_that_lost_its_lease_starts_over_and_stands_by(world, operator, eventually) -> None:
    name = f"mlinfra-operator-{world.namespace}"
    await world.kube.merge_patch(LEASES, name, {"spec": {"holderIdentity": "other"}}, NAMESPACE)

    async def told() -> bool:
        return "standby: other holds the lease" in operator.log.read_text()

    await eventually(told, "the operator stands by")
    assert "the operator cannot go on, and starts over" in operator.log.read_text()

    async def leads() -> bool:
        return await holder(world) == "first"

    await eventually(leads, "the operator leads again", seconds=TAKE_OVER_SECONDS)
    assert operator.stop() == 0
