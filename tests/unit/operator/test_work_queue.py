"""The work queue: each key once, never twice at a time, failures apart from each other."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra_operator.runtime.work_queue import Backoff, Retry, WorkQueue

SECONDS = 5.0
AT_ONCE = Backoff(first=0.001, longest=0.001)
NEVER = Backoff(first=3600.0, longest=3600.0)


@asynccontextmanager
async def working(
    reconcile: Callable[[str], Awaitable[float | None]], *, workers: int = 2, backoff: Backoff = NEVER
) -> AsyncIterator[WorkQueue[str]]:
    queue: WorkQueue[str] = WorkQueue(reconcile, backoff=backoff)
    task = asyncio.create_task(queue.run(workers))
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


class Recorder:
    """Counts what is reconciled, and waits where told to."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.active: Counter[str] = Counter()
        self.most_active = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.results: dict[str, list[float | Exception | None]] = {}
        self._changed = asyncio.Event()

    async def reconcile(self, key: str) -> float | None:
        self.active[key] += 1
        assert self.active[key] == 1, f"{key} is worked on twice at a time"
        self.most_active = max(self.most_active, sum(self.active.values()))
        self._changed.set()
        await self.gate.wait()
        self.active[key] -= 1
        self.done[key] += 1
        self._changed.set()
        outcomes = self.results.get(key)
        outcome = outcomes.pop(0) if outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def settled() -> None:
    """Everything that is ready to run has run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_key_added_often_is_worked_on_once() -> None:
    recorder = Recorder()
    async with working(recorder.reconcile) as queue:
        for _ in range(5):
            queue.add("a")
        await recorder.until(lambda: recorder.done["a"] == 1)
        await settled()
    assert recorder.done == Counter(a=1)
    assert len(queue) == 0


async def test_a_key_added_while_it_is_worked_on_is_worked_on_once_more_afterwards() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    async with working(recorder.reconcile) as queue:
        queue.add("a")
        await recorder.until(lambda: recorder.active["a"] == 1)
        queue.add("a")
        queue.add("a")
        await settled()
        assert recorder.active["a"] == 1
        recorder.gate.set()
        await recorder.until(lambda: recorder.done["a"] == 2)
        await settled()
    assert recorder.done == Counter(a=2)


async def test_no_more_keys_are_worked_on_than_there_are_workers() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    async with working(recorder.reconcile, workers=3) as queue:
        for key in "abcdef":
            queue.add(key)
        await recorder.until(lambda: sum(recorder.active.values()) == 3)
        await settled()
        assert sum(recorder.active.values()) == 3
        recorder.gate.set()
        await recorder.until(lambda: recorder.done.total() == 6)
    assert recorder.most_active == 3


async def order_of(keys: str) -> str:
    """In which one worker takes keys of which capitals come first."""
    order: list[str] = []

    async def reconcile(key: str) -> None:
        order.append(key)

    queue: WorkQueue[str] = WorkQueue(reconcile, comes_first=str.isupper)
    for key in keys:
        queue.add(key)
    task = asyncio.create_task(queue.run(1))
    await settled()
    task.cancel()
    await asyncio.wait([task])
    return "".join(order)


async def test_keys_that_come_first_overtake_those_that_wait() -> None:
    assert await order_of("abABc") == "ABabc"


async def test_a_key_that_has_waited_long_has_every_fourth_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlinfra_operator.runtime.work_queue.PATIENCE_SECONDS", -1.0)
    assert await order_of("aABCDEFGHb") == "ABCaDEFGHb"
    assert await order_of("abABCDEFGH") == "ABCaDEFbGH"


@pytest.mark.parametrize("failure", [Retry(), ValueError("bug")])
async def test_a_failing_key_is_tried_again_and_holds_nobody_up(failure: Exception) -> None:
    recorder = Recorder()
    recorder.results["bad"] = [failure, failure]
    async with working(recorder.reconcile, workers=1, backoff=AT_ONCE) as queue:
        queue.add("bad")
        queue.add("good")
        await recorder.until(lambda: recorder.done["bad"] == 3 and recorder.done["good"] == 1)
        await settled()
    assert recorder.done == Counter(bad=3, good=1)


async def test_a_failing_key_is_tried_at_once_when_it_is_added_anew() -> None:
    recorder = Recorder()
    recorder.results["a"] = [Retry()]
    async with working(recorder.reconcile, backoff=NEVER) as queue:
        queue.add("a")
        await recorder.until(lambda: recorder.done["a"] == 1)
        await settled()
        queue.add("a")
        await recorder.until(lambda: recorder.done["a"] == 2)


async def test_a_key_is_looked_at_again_after_the_time_it_asked_for() -> None:
    recorder = Recorder()
    recorder.results["a"] = [0.001, None]
    async with working(recorder.reconcile) as queue:
        queue.add("a")
        await recorder.until(lambda: recorder.done["a"] == 2)
        await settled()
    assert recorder.done["a"] == 2


async def test_of_two_times_the_earlier_counts() -> None:
    recorder = Recorder()
    async with working(recorder.reconcile) as queue:
        queue.add_after("late first", 3600)
        queue.add_after("late first", 0.001)
        queue.add_after("early first", 0.001)
        queue.add_after("early first", 3600)
        await recorder.until(lambda: recorder.done.total() == 2)


async def test_a_key_that_was_added_meanwhile_is_not_looked_at_a_second_time_when_its_time_comes() -> None:
    recorder = Recorder()
    async with working(recorder.reconcile) as queue:
        queue.add_after("a", 0.02)
        queue.add("a")
        queue.add_after("later", 0.04)
        await recorder.until(lambda: recorder.done["later"] == 1)
    assert recorder.done["a"] == 1


@given(st.integers(1, 200), st.floats(0, 1, exclude_max=True))
def test_delays_double_up_to_the_longest_and_are_shortened_by_a_quarter_at_most(
    failures: int, jitter: float
) -> None:
    backoff = Backoff(first=0.5, longest=30.0, jitter=lambda: jitter)
    whole = min(30.0, 0.5 * 2.0 ** (failures - 1))
    assert 0.75 * whole <= backoff.delay(failures) <= whole


async def test_delays_begin_anew_after_a_success() -> None:
    failures: list[int] = []

    class Remembered(Backoff):
        def delay(self, failures_in_a_row: int) -> float:
            failures.append(failures_in_a_row)
            return 0.001

    recorder = Recorder()
    recorder.results["a"] = [Retry(), Retry(), None, Retry()]
    async with working(recorder.reconcile, backoff=Remembered()) as queue:
        queue.add("a")
        await recorder.until(lambda: recorder.done["a"] == 3)
        await settled()
        queue.add("a")
        await recorder.until(lambda: recorder.done["a"] == 5)
    assert failures == [1, 2, 1]
