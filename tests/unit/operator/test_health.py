"""Silence is death, an error is not: it makes the operator unready."""

import asyncio

import pytest
from aiohttp import ClientSession

from mlinfra.kube.pulse import Pulse
from mlinfra_operator.runtime.health import DeadWatchError, Health
from mlinfra_operator.runtime.health_server import HealthServer
from mlinfra_operator.settings import SettingsError


class Clock:
    """Set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    """Of an operator that knows all objects."""
    health = Health(10.0, clock)
    health.awaits = None
    return health


def test_nothing_is_ready_before_the_first_list_and_nothing_is_dead(clock: Clock) -> None:
    health = Health(10.0, clock)
    pulse = health.pulse("jobs")
    pulse.heard()
    clock.now += 1000
    assert health.dead() == []
    assert health.unready() == ["the API server has not told yet what there is"]


def test_a_watch_that_never_began_is_not_ready_and_in_time_dead(health: Health, clock: Clock) -> None:
    health.pulse("jobs")
    assert health.unready() == ["watch of jobs: it has not begun"]
    clock.now += 30
    assert health.dead() == []
    clock.now += 1
    assert health.dead() == ["watch of jobs: no sign of life for 31 s"]


def test_an_optional_watch_may_be_refused_but_not_silent(health: Health, clock: Clock) -> None:
    health.pulse("deployments", optional=True)
    assert health.unready() == []
    clock.now += 31
    assert health.dead() == ["watch of deployments: no sign of life for 31 s"]


def test_a_watch_that_was_heard_is_ready(health: Health, clock: Clock) -> None:
    health.pulse("jobs").heard()
    clock.now += 30
    assert (health.dead(), health.unready()) == ([], [])
    assert health.silences() == {"jobs": 30}
    clock.now += 1
    assert health.unready() == ["watch of jobs: nothing heard for 31 s"]


def test_a_server_that_says_it_is_away_makes_unready_and_not_dead(health: Health, clock: Clock) -> None:
    pulse: Pulse = health.pulse("jobs")
    for _ in range(10):
        clock.now += 20
        pulse.told("connection refused")
    assert health.dead() == []
    assert health.unready() == ["watch of jobs: connection refused"]
    pulse.heard()
    assert health.unready() == []


async def test_a_dead_operator_that_nobody_restarts_ends(health: Health, clock: Clock) -> None:
    health.silence = 0.0
    watching = asyncio.create_task(health.watch_over())
    health.pulse("jobs").heard()
    clock.now += 60
    await asyncio.sleep(0)
    assert not watching.done()
    clock.now += 1
    with pytest.raises(DeadWatchError, match="watch of jobs: no sign of life for 61 s"):
        await asyncio.wait_for(watching, 5)


async def test_probes_are_answered(health: Health, clock: Clock, unused_tcp_port: int) -> None:
    health.pulse("jobs").heard()
    address = f"127.0.0.1:{unused_tcp_port}"
    async with HealthServer(address, health), ClientSession(f"http://{address}") as http:

        async def ask(path: str) -> tuple[int, str]:
            async with http.get(path) as answer:
                return answer.status, await answer.text()

        assert await ask("/healthz") == await ask("/readyz") == (200, "ok\n")
        clock.now += 40
        assert await ask("/healthz") == (503, "watch of jobs: no sign of life for 40 s\n")
        assert await ask("/readyz") == (503, "watch of jobs: nothing heard for 40 s\n")
        with pytest.raises(SettingsError, match=r"MLINFRA_HEALTH_ADDRESS: .* cannot be had"):
            await HealthServer(address, health).__aenter__()
