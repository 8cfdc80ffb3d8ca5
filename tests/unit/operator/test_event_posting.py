"""Events: the same one is counted, and none of them holds up work."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.objects import NOW, NOW_TEXT

from mlinfra.kube import ApiError
from mlinfra.kube.resource import EVENTS, ResourceType
from mlinfra_operator.conditions import Event
from mlinfra_operator.runtime.events import (
    HELD_SECONDS,
    MOST_ATTEMPTS,
    EventPoster,
    event_manifest,
    event_name,
)

Object = dict[str, Any]
JOB: Object = {
    "apiVersion": "mlinfra.io/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"namespace": "team", "name": "a", "uid": "1"},
}
STARTED = Event("Normal", "Started", "the training runs")


class Recorder:
    """Remembers requests in place of an API server."""

    def __init__(self, *errors: Exception) -> None:
        self.created: list[Object] = []
        self.counts: list[int] = []
        self._errors = list(errors)

    async def create(self, resource: ResourceType, body: Object, namespace: str) -> Object:
        assert (resource, namespace) == (EVENTS, "team")
        self._fail()
        self.created.append(body)
        return body

    async def merge_patch(self, resource: ResourceType, name: str, patch: Object, namespace: str) -> Object:
        assert (resource, namespace) == (EVENTS, "team")
        self._fail()
        self.counts += [patch["count"]] if patch else []
        return patch or {"count": 7}

    def fail_next(self, error: Exception) -> None:
        self._errors.append(error)

    def _fail(self) -> None:
        if self._errors:
            raise self._errors.pop(0)


def poster(api: Recorder) -> EventPoster:
    return EventPoster(api, clock=lambda: NOW)  # type: ignore[arg-type]  # the part that is used


async def test_the_same_event_is_counted_and_another_is_posted() -> None:
    api = Recorder()
    events = poster(api)
    for _ in range(3):
        events.post(JOB, STARTED)
    events.post(JOB, Event("Normal", "Registered", "registered"))
    await events.post_waiting()
    assert [body["reason"] for body in api.created] == ["Started", "Registered"]
    assert api.counts == [2, 3]


async def test_an_event_posted_before_a_restart_is_counted() -> None:
    api = Recorder(ApiError(409, "AlreadyExists", "exists"))
    events = poster(api)
    for _ in range(2):
        events.post(JOB, STARTED)
    await events.post_waiting()
    assert (api.created, api.counts) == ([], [8, 9])


async def test_an_event_that_outlived_its_time_to_live_is_posted_anew() -> None:
    api = Recorder()
    events = poster(api)
    events.post(JOB, STARTED)
    await events.post_waiting()
    api.fail_next(ApiError(404, "NotFound", "gone"))
    for _ in range(2):
        events.post(JOB, STARTED)
    await events.post_waiting()
    assert [body["count"] for body in api.created] == [1, 1]
    assert api.counts == [2]


@pytest.mark.parametrize("error", [ApiError(403, "Forbidden", "no"), ValueError("odd")])
async def test_an_event_that_cannot_be_posted_holds_nothing_up_and_is_tried_the_next_time(
    error: Exception,
) -> None:
    api = Recorder(error)
    events = poster(api)
    for _ in range(2):
        events.post(JOB, STARTED)
    await events.post_waiting()
    assert len(api.created) == 1


@pytest.mark.parametrize("error", [ApiError(503, "Unavailable", "away"), httpx.ConnectError("away")])
async def test_events_wait_while_the_api_server_is_away_but_not_for_ever(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlinfra_operator.runtime.events.AWAY_SECONDS", 0.0)
    api = Recorder(*[error] * (MOST_ATTEMPTS - 1))
    events = poster(api)
    events.post(JOB, STARTED)
    await events.post_waiting()
    assert len(api.created) == 1
    for _ in range(MOST_ATTEMPTS):
        api.fail_next(error)
    events.post(JOB, Event("Normal", "Lost", "told to nobody"))
    events.post(JOB, Event("Normal", "Registered", "registered"))
    await events.post_waiting()
    assert [body["reason"] for body in api.created] == ["Started", "Registered"]


async def test_events_wait_for_work_that_comes_before_them_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlinfra_operator.runtime.events.HELD_POLL_SECONDS", 0.0)
    api, now, works = Recorder(), [NOW], [True]
    events = EventPoster(api, held=lambda: works[0], clock=lambda: now[0])  # type: ignore[arg-type]
    running = asyncio.create_task(events.run())

    async def posted() -> list[str]:
        for _ in range(20):
            await asyncio.sleep(0)
        return [body["reason"] for body in api.created]

    events.post(JOB, Event("Normal", "JobCreated", "created"))
    assert await posted() == []
    now[0] += timedelta(seconds=HELD_SECONDS)
    assert await posted() == ["JobCreated"]
    events.post(JOB, STARTED)
    assert await posted() == ["JobCreated"]
    # A clock that is set back holds nothing for longer.
    now[0] -= timedelta(days=1)
    assert await posted() == ["JobCreated", "Started"]
    events.post(JOB, Event("Normal", "Registered", "registered"))
    works[0] = False
    assert await posted() == ["JobCreated", "Started", "Registered"]
    running.cancel()
    await asyncio.wait([running])


async def test_an_event_tells_when_it_happened_not_when_it_was_posted() -> None:
    api, times = Recorder(), iter([NOW, NOW + timedelta(minutes=1)])
    events = EventPoster(api, clock=lambda: next(times))  # type: ignore[arg-type]  # the part that is used
    events.post(JOB, STARTED)
    next(times)
    await events.post_waiting()
    assert api.created[0]["firstTimestamp"] == NOW_TEXT


async def test_what_waits_is_posted_when_the_operator_ends_and_in_the_order_in_which_it_happened() -> None:
    api = Recorder()
    events = poster(api)
    running = asyncio.create_task(events.run())
    for number in range(5):
        events.post(JOB, Event("Normal", f"Number{number}", "told"))
    running.cancel()
    await asyncio.wait([running])
    await events.aclose()
    assert [body["reason"] for body in api.created] == [f"Number{number}" for number in range(5)]


async def test_no_more_events_wait_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mlinfra_operator.runtime.events.MOST_WAITING", 2)
    api = Recorder()
    events = poster(api)
    for number in range(3):
        events.post(JOB, Event("Normal", f"Number{number}", "told"))
    await events.post_waiting()
    assert [body["reason"] for body in api.created] == ["Number0", "Number1"]
    assert "event Number2 on a: not posted" in caplog.text


def test_an_event_names_its_object_and_fits_the_api() -> None:
    long = Event("Warning", "X" * 200, "y" * 2000)
    body = event_manifest(JOB, long, name=event_name(JOB, long), now=NOW)
    assert body["involvedObject"] == {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "TrainingJob",
        "name": "a",
        "namespace": "team",
        "uid": "1",
    }
    assert (len(body["reason"]), len(body["message"])) == (128, 1024)
    assert (body["type"], body["count"], body["firstTimestamp"]) == ("Warning", 1, NOW_TEXT)


def test_events_differ_by_object_and_by_what_they_tell() -> None:
    other: Object = {**JOB, "metadata": {**JOB["metadata"], "uid": "2"}}
    names = [
        event_name(JOB, STARTED),
        event_name(other, STARTED),
        event_name(JOB, Event("Warning", "Started", "the training runs")),
        event_name(JOB, Event("Normal", "Started", "it runs")),
    ]
    assert len(set(names)) == 4


LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=8).map(".".join).filter(lambda name: len(name) <= 253)


@given(name=NAMES, other=NAMES, message=st.text(max_size=20))
def test_an_event_has_a_name_that_the_api_server_takes(name: str, other: str, message: str) -> None:
    event = Event("Normal", "Started", message)
    named = event_name({**JOB, "metadata": {**JOB["metadata"], "name": name}}, event)
    assert len(named) <= 253
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", label) for label in named.split("."))
    assert named == event_name({**JOB, "metadata": {**JOB["metadata"], "name": name}}, event)
    assert named != event_name({**JOB, "metadata": {**JOB["metadata"], "name": other, "uid": "2"}}, event)
    short = name[:236] == name
    assert not short or named.startswith(f"{name}.")


def test_the_longest_name_has_events() -> None:
    name = f"{'a' * 235}-{'b' * 17}"
    named = event_name({**JOB, "metadata": {**JOB["metadata"], "name": name}}, STARTED)
    assert named.startswith(f"{'a' * 235}.")
