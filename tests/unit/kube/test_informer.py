"""The cache follows the server, whatever happened while it looked away."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mlinfra.kube import ApiError, WatchEvent
from mlinfra.kube.informer import Informer, running
from mlinfra.kube.pulse import Pulse
from mlinfra.kube.resource import PODS


def pod(name: str, version: int, *, uid: str | None = None) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "ns",
            "name": name,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
        }
    }


class ScriptedClient:
    """Answers one list, then the events of one watch, a step at a time; then the watch hangs."""

    def __init__(self, *steps: tuple[list[dict[str, Any]], list[WatchEvent | ApiError]]) -> None:
        self._steps = iter(steps)
        self._events: list[WatchEvent | ApiError] = []
        self.exhausted = asyncio.Event()

    async def list(self, *_: object, **__: object) -> tuple[list[dict[str, Any]], str]:
        items, self._events = next(self._steps)
        return items, "1"

    async def watch(self, *_: object, **__: object) -> AsyncIterator[WatchEvent]:
        for event in self._events:
            if isinstance(event, ApiError):
                raise event
            yield event
        self.exhausted.set()
        await asyncio.Event().wait()


async def changes_of(client: ScriptedClient) -> tuple[list[tuple[str, str]], Informer]:
    seen: list[tuple[str, str]] = []
    informer = Informer(
        client,  # type: ignore[arg-type]  # a scripted stand-in with the two methods an Informer calls
        PODS,
        on_change=lambda type_, obj: seen.append((type_, obj["metadata"]["name"])),
    )
    task = asyncio.create_task(informer.run())
    await asyncio.wait_for(client.exhausted.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return seen, informer


async def test_list_then_watch() -> None:
    client = ScriptedClient(
        ([pod("a", 1)], [WatchEvent("MODIFIED", pod("a", 2)), WatchEvent("ADDED", pod("b", 3))])
    )
    seen, informer = await changes_of(client)
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("ADDED", "b")]
    assert informer.synced.is_set()


async def test_what_vanished_while_the_watch_was_too_old_is_reported_deleted() -> None:
    gone = ApiError(410, "Expired", "too old resource version")
    client = ScriptedClient(([pod("a", 1), pod("b", 1)], [gone]), ([pod("a", 1)], []))
    seen, informer = await changes_of(client)
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "b")]
    assert list(informer.objects) == [("ns", "a")]


async def test_a_namesake_of_another_uid_is_a_deletion_and_an_addition() -> None:
    client = ScriptedClient(([pod("a", 1)], [WatchEvent("ADDED", pod("a", 5, uid="other"))]))
    seen, _ = await changes_of(client)
    assert seen == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]


async def test_the_same_version_again_is_no_change() -> None:
    client = ScriptedClient(([pod("a", 1)], [ApiError(410, "Expired", "")]), ([pod("a", 1)], []))
    seen, _ = await changes_of(client)
    assert seen == [("ADDED", "a")]


async def test_a_deletion_carries_the_last_state() -> None:
    client = ScriptedClient(([pod("a", 1)], [WatchEvent("DELETED", pod("a", 2))]))
    seen, informer = await changes_of(client)
    assert seen == [("ADDED", "a"), ("DELETED", "a")]
    assert informer.objects == {}


def informer_of(client: ScriptedClient) -> Informer:
    return Informer(client, PODS, on_change=lambda *_: None)  # type: ignore[arg-type]


async def test_a_block_with_running_informers_begins_when_all_are_complete_and_ends_them() -> None:
    informers = [informer_of(ScriptedClient(([pod(name, 1)], []))) for name in "ab"]
    before = asyncio.all_tasks()
    async with running(*informers):
        assert [list(each.objects) for each in informers] == [[("ns", "a")], [("ns", "b")]]
    assert asyncio.all_tasks() == before


async def test_an_exception_of_the_block_leaves_it_as_it_is() -> None:
    with pytest.raises(KeyError, match="own"):
        async with running(informer_of(ScriptedClient(([], [])))):
            raise KeyError("own")


async def test_an_informer_that_cannot_go_on_ends_the_block() -> None:
    broken = informer_of(ScriptedClient())
    with pytest.raises(BaseExceptionGroup):
        async with running(broken):
            raise AssertionError("it never was complete")


class Hanging:
    """A server that does not answer."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def list(self, *_: object, **__: object) -> tuple[list[dict[str, Any]], str]:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError


async def test_the_time_before_a_watch_begins_is_no_silence() -> None:
    now = 0.0
    silent = Pulse(lambda: now)
    hangs = Hanging()
    informer = Informer(hangs, PODS, on_change=lambda *_: None, pulse=silent)  # type: ignore[arg-type]
    now = 60.0
    task = asyncio.create_task(informer.run())
    await asyncio.wait_for(hangs.asked.wait(), 5)
    task.cancel()
    assert (silent.sign_at, silent.heard_at) == (60.0, None)
