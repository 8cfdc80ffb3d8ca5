"""Blocking calls: waited for when the operator ends, and the lease is given back only after them."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from mlinfra_operator.runtime import operator
from mlinfra_operator.runtime.operator import end_calls
from mlinfra_operator.runtime.threads import BoundedThreads

LONG = 30.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opens for the calls that wait for it, at the latest when the test ends."""
    gate = threading.Event()
    yield gate
    gate.set()


async def started(threads: BoundedThreads, gate: threading.Event) -> "asyncio.Task[bool]":
    """A call that runs until the gate opens."""
    running = threading.Event()

    def call() -> bool:
        running.set()
        return gate.wait(LONG)

    task = asyncio.create_task(threads.run(call))
    await asyncio.to_thread(running.wait, LONG)
    return task


async def test_a_call_gives_its_result_and_its_error() -> None:
    threads = BoundedThreads(1, timeout=LONG)
    assert await threads.run(int, "7") == 7
    with pytest.raises(ValueError, match="seven"):
        await threads.run(int, "seven")
    assert await threads.shutdown(LONG)


async def test_a_call_that_takes_too_long_is_not_waited_for(gate: threading.Event) -> None:
    threads = BoundedThreads(1, timeout=0.01)
    with pytest.raises(TimeoutError):
        await threads.run(gate.wait, LONG)
    assert not await threads.shutdown(0.01)


async def test_the_end_waits_for_calls_that_nobody_waits_for_any_more(gate: threading.Event) -> None:
    threads = BoundedThreads(1, timeout=LONG)
    task = await started(threads, gate)
    waits = asyncio.create_task(threads.run(gate.wait, LONG))
    await asyncio.sleep(0)
    for each in (task, waits):
        each.cancel()
    ending = asyncio.create_task(threads.shutdown(LONG))
    await asyncio.sleep(0)
    assert not ending.done()
    gate.set()
    assert await ending


class Lease:
    """Remembers what becomes of it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def renew(self) -> None:
        self.told.append("renewed")

    async def release(self) -> None:
        self.told.append("released")


class Calls:
    """Calls in threads, as MLflow's."""

    def __init__(self, threads: BoundedThreads) -> None:
        self._threads = threads

    async def aclose(self, patience: float) -> bool:
        return await self._threads.shutdown(patience)


async def test_the_lease_is_given_back_after_the_last_call(gate: threading.Event) -> None:
    threads, lease = BoundedThreads(1, timeout=LONG), Lease()
    task = await started(threads, gate)
    task.cancel()
    ending = asyncio.create_task(end_calls(Calls(threads), lease))  # type: ignore[arg-type]  # the part that is used
    while not lease.told:
        await asyncio.sleep(0)
    assert lease.told == ["renewed"]
    gate.set()
    assert await ending
    assert lease.told == ["renewed", "released"]


async def test_the_lease_is_left_to_expire_while_a_call_runs(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "LAST_CALLS_SECONDS", 0.01)
    threads, lease = BoundedThreads(1, timeout=LONG), Lease()
    task = await started(threads, gate)
    task.cancel()
    assert not await end_calls(Calls(threads), lease)  # type: ignore[arg-type]  # the part that is used
    assert lease.told == ["renewed"]
