"""Events: the same one is counted, and none of them holds up work."""

from typing import Any

import httpx
import pytest
from unit.operator.objects import NOW, NOW_TEXT

from mlinfra.kube import ApiError
from mlinfra.kube.resource import EVENTS, ResourceType
from mlinfra_operator.conditions import Event
from mlinfra_operator.runtime.events import EventPoster, event_manifest, event_name

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
        await events.post(JOB, STARTED)
    await events.post(JOB, Event("Normal", "Registered", "registered"))
    assert [body["reason"] for body in api.created] == ["Started", "Registered"]
    assert api.counts == [2, 3]


async def test_an_event_posted_before_a_restart_is_counted() -> None:
    api = Recorder(ApiError(409, "AlreadyExists", "exists"))
    events = poster(api)
    await events.post(JOB, STARTED)
    await events.post(JOB, STARTED)
    assert (api.created, api.counts) == ([], [8, 9])


async def test_an_event_that_outlived_its_time_to_live_is_posted_anew() -> None:
    api = Recorder()
    events = poster(api)
    await events.post(JOB, STARTED)
    api.fail_next(ApiError(404, "NotFound", "gone"))
    for _ in range(2):
        await events.post(JOB, STARTED)
    assert [body["count"] for body in api.created] == [1, 1]
    assert api.counts == [2]


@pytest.mark.parametrize("error", [ApiError(403, "Forbidden", "no"), httpx.ConnectError("away")])
async def test_an_event_that_cannot_be_posted_holds_nothing_up_and_is_tried_the_next_time(
    error: Exception,
) -> None:
    api = Recorder(error)
    events = poster(api)
    await events.post(JOB, STARTED)
    await events.post(JOB, STARTED)
    assert len(api.created) == 1


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
