"""A leader stops before its lease can be another's, whatever its requests do."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mlinfra.kube import ApiError
from mlinfra.kube.resource import ResourceType
from mlinfra_operator.runtime.election import LeaderElection, LeaseLostError
from mlinfra_operator.runtime.lease import LeaseTimes

Object = dict[str, Any]
TIMES = LeaseTimes(duration=1.5, renew_deadline=1.0, retry=0.2)


class Leases:
    """One Lease in memory, behind a network that may fail fast or hang."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.written_at = 0.0
        self.answers_late = 0.0
        self.network = "works"

    async def find(self, resource: ResourceType, name: str, namespace: str) -> Object | None:
        await self._travel()
        return self.lease

    async def create(self, resource: ResourceType, body: Object, namespace: str, **_: Any) -> Object:
        return await self._write(body)

    async def merge_patch(
        self, resource: ResourceType, name: str, body: Object, namespace: str, **_: Any
    ) -> Object:
        if self.lease is not None and body["metadata"]["resourceVersion"] != self._version():
            raise ApiError(409, "Conflict", "changed")
        return await self._write(body)

    async def _write(self, body: Object) -> Object:
        await self._travel()
        self.written_at = time.monotonic()
        self.lease = {"spec": body["spec"], "metadata": {"resourceVersion": f"{self.written_at}"}}
        await asyncio.sleep(self.answers_late)
        return self.lease

    def _version(self) -> str:
        assert self.lease is not None
        return str(self.lease["metadata"]["resourceVersion"])

    async def _travel(self) -> None:
        if self.network == "fails":
            raise httpx.ConnectError("away")
        if self.network == "hangs":
            await asyncio.Event().wait()


def election(
    leases: Leases,
    clock: Callable[[], float] = time.monotonic,
    *,
    identity: str = "me",
    times: LeaseTimes = TIMES,
) -> LeaderElection:
    return LeaderElection(
        leases,  # type: ignore[arg-type]  # the part that is used
        namespace="n",
        name="lease",
        identity=identity,
        times=times,
        clock=clock,
    )


async def test_a_leader_whose_requests_fail_and_then_hang_stops_before_its_lease_ends() -> None:
    leases = Leases()
    leader = election(leases)
    await leader.acquire()
    holding = asyncio.create_task(leader.hold())
    leases.network = "fails"
    await asyncio.sleep(0.7 * TIMES.renew_deadline)
    leases.network = "hangs"
    with pytest.raises(LeaseLostError):
        await holding
    assert time.monotonic() - leases.written_at < TIMES.duration


async def test_a_lease_lives_from_when_it_was_written_and_not_from_the_answer() -> None:
    leases = Leases()
    leader = election(leases)
    leases.answers_late = 0.5 * TIMES.renew_deadline
    await leader.acquire()
    leases.network = "hangs"
    with pytest.raises(LeaseLostError):
        await leader.hold()
    assert time.monotonic() - leases.written_at < TIMES.duration


async def test_a_leader_that_was_frozen_knows_at_once_that_its_lease_may_be_anothers() -> None:
    leases, now = Leases(), 0.0
    leader = election(leases, clock=lambda: now)
    await leader.acquire()
    assert not leader.is_overdue
    now = TIMES.renew_deadline
    assert leader.is_overdue
    with pytest.raises(LeaseLostError):
        await leader.hold()


async def test_a_leader_that_renews_goes_on() -> None:
    leases = Leases()
    leader = election(leases)
    await leader.acquire()
    holding = asyncio.create_task(leader.hold())
    first = leases.written_at
    await asyncio.sleep(1.5 * TIMES.renew_deadline)
    assert not holding.done()
    assert leases.written_at > first
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding


async def test_a_leader_that_ends_renews_once_more_what_is_still_its_own() -> None:
    leases, now = Leases(), 0.0
    leader = election(leases, clock=lambda: now)
    await leader.renew()
    assert leases.lease is None
    await leader.acquire()
    first = leases.written_at
    await leader.renew()
    assert leases.written_at > first
    again = leases.written_at
    now = TIMES.renew_deadline
    await leader.renew()
    assert leases.written_at == again


async def test_a_lease_is_taken_when_it_expires_and_not_at_the_next_look() -> None:
    leases, times = Leases(), LeaseTimes(duration=1, renew_deadline=0.9, retry=0.9)
    await election(leases, identity="dead", times=times).acquire()
    began = time.monotonic()
    await election(leases, times=times).acquire()
    # Looks every 0.9 s would find it expired at the second one only, after 1.8 s.
    assert times.duration < time.monotonic() - began < 1.6
