"""Requests that wait together are computed together, in order, each with its own model and its own rows."""

import asyncio
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlinfra.serving.batcher import MicroBatcher, Queue, Waiting, compute
from mlinfra.serving.errors import ModelFailedError, QueueFullError
from mlinfra.serving.tensors import Array


@dataclass(eq=False)
class Doubling:
    """Gives each row twice; may be held, and fails where a row is negative."""

    batch_rows: int = 8
    row_seconds: float = math.inf
    free: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)
    on_run: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        self.free.set()

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        assert self.free.wait(30)
        self.on_run()
        values = inputs["x"]
        self.batches.append(len(values))
        if (values < 0).any():
            raise ModelFailedError("negative")
        return [values * 2]


def column(*values: float) -> dict[str, Array]:
    return {"x": np.array(values, np.float32).reshape(-1, 1)}


async def submitted(batcher: MicroBatcher, model: Doubling, *values: float) -> list[float]:
    (answer,) = await batcher.submit(model, column(*values), len(values))
    found: list[float] = answer.ravel().tolist()
    return found


async def test_an_idle_model_computes_at_once() -> None:
    model, told = Doubling(), []
    batcher = MicroBatcher(max_pending=4, on_batch=lambda rows, seconds: told.append(rows))
    assert await submitted(batcher, model, 1, 2) == [2, 4]
    assert (model.batches, told) == ([2], [2])
    await batcher.drained()
    batcher.close()


async def test_what_waits_goes_together() -> None:
    model = Doubling(batch_rows=4)
    batcher = MicroBatcher(max_pending=16, on_batch=lambda rows, seconds: None)
    model.free.clear()
    tasks = [asyncio.create_task(submitted(batcher, model, number)) for number in range(6)]
    await asyncio.sleep(0)
    assert batcher.depth == 5
    model.free.set()
    assert await asyncio.gather(*tasks) == [[2.0 * number] for number in range(6)]
    assert model.batches == [1, 4, 1]
    batcher.close()


async def test_a_quick_model_computes_in_the_event_loop_what_came_in_one_turn() -> None:
    model, told, threads = Doubling(batch_rows=4, row_seconds=1e-6), [], set()
    model.on_run = lambda: threads.add(threading.get_ident())
    batcher = MicroBatcher(max_pending=16, on_batch=lambda rows, seconds: told.append(rows))
    answers = await asyncio.gather(*(submitted(batcher, model, number) for number in range(6)))
    assert answers == [[2.0 * number] for number in range(6)]
    assert (model.batches, told) == ([4, 2], [4, 2])
    assert threads == {threading.get_ident()}
    await batcher.drained()
    batcher.close()


async def test_many_rows_of_a_quick_model_do_not_stop_the_event_loop() -> None:
    model, threads = Doubling(row_seconds=1e-4), set()
    model.on_run = lambda: threads.add(threading.get_ident())
    batcher = MicroBatcher(max_pending=16, on_batch=lambda rows, seconds: None)
    assert await submitted(batcher, model, *range(6)) == [2.0 * number for number in range(6)]
    assert threads.isdisjoint({threading.get_ident()})
    batcher.close()


async def test_a_quick_model_refuses_nobody_while_it_is_idle() -> None:
    model = Doubling(batch_rows=4, row_seconds=1e-6)
    batcher = MicroBatcher(max_pending=2, on_batch=lambda rows, seconds: None)
    answers = await asyncio.gather(*(submitted(batcher, model, number) for number in range(5)))
    assert answers == [[2.0 * number] for number in range(5)]
    assert model.batches == [2, 2, 1]
    await batcher.drained()
    batcher.close()


async def test_a_full_queue_refuses_and_recovers() -> None:
    model = Doubling()
    batcher = MicroBatcher(max_pending=2, on_batch=lambda rows, seconds: None)
    model.free.clear()
    tasks = [asyncio.create_task(submitted(batcher, model, number)) for number in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError):
        await submitted(batcher, model, 9)
    model.free.set()
    await asyncio.gather(*tasks)
    assert await submitted(batcher, model, 9) == [18]
    batcher.close()


async def test_one_bad_request_fails_no_other() -> None:
    model = Doubling()
    batcher = MicroBatcher(max_pending=16, on_batch=lambda rows, seconds: None)
    model.free.clear()
    tasks = [asyncio.create_task(submitted(batcher, model, number)) for number in (1, 2, -3, 4)]
    await asyncio.sleep(0)
    model.free.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [answers[0], answers[1], answers[3]] == [[2], [4], [8]]
    assert isinstance(answers[2], ModelFailedError)
    batcher.close()


async def test_requests_keep_the_model_they_were_checked_against() -> None:
    old, new = Doubling(), Doubling()
    batcher = MicroBatcher(max_pending=16, on_batch=lambda rows, seconds: None)
    old.free.clear()
    tasks = [asyncio.create_task(submitted(batcher, model, 1)) for model in (old, old, new, new, old)]
    await asyncio.sleep(0)
    old.free.set()
    await asyncio.gather(*tasks)
    assert (old.batches, new.batches) == ([1, 1, 1], [2])
    batcher.close()


async def test_a_client_that_left_is_not_computed() -> None:
    model = Doubling()
    batcher = MicroBatcher(max_pending=16, on_batch=lambda rows, seconds: None)
    model.free.clear()
    tasks = [asyncio.create_task(submitted(batcher, model, number)) for number in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[3].cancel()
    await asyncio.sleep(0)
    model.free.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    await batcher.drained()
    assert model.batches == [1, 1]
    batcher.close()


async def test_a_crowd_is_waited_for_where_that_is_asked_for() -> None:
    model = Doubling()
    batcher = MicroBatcher(max_pending=16, wait_seconds=0.05, on_batch=lambda rows, seconds: None)
    model.free.clear()
    crowd = [asyncio.create_task(submitted(batcher, model, number)) for number in range(3)]
    await asyncio.sleep(0)
    model.free.set()
    await asyncio.gather(*crowd)
    await asyncio.gather(*(submitted(batcher, model, number) for number in range(3)))
    assert model.batches == [1, 2, 3]
    assert await submitted(batcher, model, 1) == [2]
    batcher.close()


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.integers(-1, 9), min_size=1, max_size=4), min_size=1, max_size=20),
    st.sampled_from([math.inf, 1e-6, 1.5e-4]),
)
def test_every_request_gets_its_own_rows(requests: list[list[int]], row_seconds: float) -> None:
    async def answers() -> list[Any]:
        model = Doubling(batch_rows=5, row_seconds=row_seconds)
        batcher = MicroBatcher(max_pending=100, on_batch=lambda rows, seconds: None)
        if row_seconds == math.inf:
            model.free.clear()
        tasks = [asyncio.create_task(submitted(batcher, model, *request)) for request in requests]
        await asyncio.sleep(0)
        model.free.set()
        try:
            return await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await batcher.drained()
            batcher.close()

    for request, answer in zip(requests, asyncio.run(answers()), strict=True):
        if min(request) < 0:
            assert isinstance(answer, ModelFailedError)
        else:
            assert answer == [2.0 * value for value in request]


def test_outputs_of_another_length_are_not_shared_out() -> None:
    class Sum(Doubling):
        def run(self, inputs: Mapping[str, Array]) -> list[Array]:
            return [inputs["x"].sum(keepdims=True)]

    loop = asyncio.new_event_loop()
    model = Sum()
    batch = [Waiting(model, column(n), 1, (("x", (1,)),), loop.create_future()) for n in (1, 2)]
    outcomes, _ = compute(batch, lambda: 0.0)
    loop.close()
    assert [outcome[0].item() for outcome in outcomes if isinstance(outcome, list)] == [1, 2]


class QueueMachine(RuleBasedStateMachine):
    """The queue beside a plain list: order, limit, and what may share a batch."""

    LIMIT = 5

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.queue = Queue(self.LIMIT)
        self.models = [Doubling(batch_rows=rows) for rows in (1, 4)]
        self.expected: list[Waiting] = []

    def teardown(self) -> None:
        self.loop.close()

    @rule(model=st.integers(0, 1), rows=st.integers(1, 6), wide=st.booleans())
    def put(self, model: int, rows: int, wide: bool) -> None:
        shape = (("x", (2 if wide else 1,)),)
        request = Waiting(self.models[model], {}, rows, shape, self.loop.create_future())
        if len(self.expected) == self.LIMIT:
            with pytest.raises(QueueFullError):
                self.queue.put(request)
        else:
            self.queue.put(request)
            self.expected.append(request)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.expected)).answer.cancel()

    @rule()
    def take(self) -> None:
        batch = self.queue.take()
        while self.expected and self.expected[0].answer.done():
            self.expected.pop(0)
        wanted: list[Waiting] = []
        for each in list(self.expected):
            if each.answer.done():
                self.expected.remove(each)
                continue
            fits = not wanted or (
                (each.model, each.shape) == (wanted[0].model, wanted[0].shape)
                and sum(one.rows for one in wanted) + each.rows <= each.model.batch_rows
            )
            if not fits:
                break
            wanted.append(each)
            self.expected.remove(each)
        assert batch == wanted

    @invariant()
    def as_many(self) -> None:
        assert len(self.queue) == len(self.expected)
        assert self.queue.rows() == sum(each.rows for each in self.expected)


TestQueueMachine = QueueMachine.TestCase
