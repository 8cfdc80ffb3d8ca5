"""What waits in a server is bounded."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.serving.calls import Arriving
from mlinfra.serving.errors import BodiesFullError, QueueFullError
from mlinfra.serving.observations import FeedbackResult, Label, Observer


@given(sizes=st.lists(st.integers(0, 40)), limit=st.integers(1, 100))
def test_bodies_take_no_more_than_may_arrive(sizes: list[int], limit: int) -> None:
    arriving, taken = Arriving(limit), 0
    for size in sizes:
        if taken + size > limit:
            with pytest.raises(BodiesFullError):
                arriving.add(size)
        else:
            arriving.add(size)
            taken += size
    arriving.remove(taken)
    arriving.add(limit)


def test_labels_that_wait_are_bounded_and_none_that_was_taken_is_lost() -> None:
    busy, go_on, kept = threading.Event(), threading.Event(), list[Label]()

    def keep(calls: Sequence[Sequence[Label]]) -> list[FeedbackResult]:
        busy.set()
        go_on.wait(30)
        kept.extend(label for labels in calls for label in labels)
        return [FeedbackResult(accepted=len(labels)) for labels in calls]

    observer = Observer([], keep, max_rows=10, on_drop=lambda _: None)
    label = Label("a", 1)
    first = observer.feedback([label] * 4)
    assert busy.wait(30)
    second = observer.feedback([label] * 6)
    third = observer.feedback([label] * 4)
    with pytest.raises(QueueFullError):
        observer.feedback([label])
    go_on.set()
    for each in (first, second, third):
        each.result(30)
    # One call that is larger than what may wait is taken where nothing waits.
    observer.feedback([label] * 50).result(30)
    observer.close()
    assert len(kept) == 64


@pytest.mark.parametrize(
    "ask", [lambda observer: observer.feedback([Label("b", 1)]), lambda observer: observer.call(list)]
)
def test_who_leaves_while_it_waits_stops_nobody_else(ask: Callable[[Observer], "Future[Any]"]) -> None:
    busy, go_on, kept = threading.Event(), threading.Event(), list[str]()

    def keep(calls: Sequence[Sequence[Label]]) -> list[FeedbackResult]:
        kept.extend(label.id for labels in calls for label in labels)
        return [FeedbackResult(accepted=len(labels)) for labels in calls]

    def wait() -> None:
        busy.set()
        go_on.wait(30)

    observer = Observer([], keep, max_rows=10, on_drop=lambda _: None)
    observer.call(wait)
    assert busy.wait(30)
    left, stayed = ask(observer), observer.feedback([Label("a", 1)])
    assert left.cancel()
    go_on.set()
    assert stayed.result(30).accepted == 1
    assert observer.call(lambda: kept).result(30) == ["a"]
    observer.close()


def test_who_leaves_while_it_is_served_stops_nobody_else() -> None:
    busy, go_on = threading.Event(), threading.Event()

    def keep(calls: Sequence[Sequence[Label]]) -> list[FeedbackResult]:
        busy.set()
        go_on.wait(30)
        return [FeedbackResult(accepted=len(labels)) for labels in calls]

    observer = Observer([], keep, max_rows=10, on_drop=lambda _: None)
    for _ in range(2):
        left = observer.feedback([Label("a", 1)])
        assert busy.wait(30)
        left.cancel()
        go_on.set()
    assert observer.feedback([Label("b", 1)]).result(30).accepted == 1
    observer.close()
