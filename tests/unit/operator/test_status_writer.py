"""The status is written where its meaning changed, and nowhere else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.kube import ApiError
from mlinfra.kube.resource import TRAINING_JOBS, ResourceType
from mlinfra_operator.runtime.cache import ObjectCache
from mlinfra_operator.runtime.status import StatusWriter, merge_difference
from mlinfra_operator.runtime.work_queue import Retry

Object = dict[str, Any]
JSON = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
STATUSES = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386, as its text has it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(STATUSES, STATUSES)
def test_the_difference_makes_the_new_status_of_the_old_one(old: Object, new: Object) -> None:
    difference = merge_difference(old, new)
    assert merged(old, difference) == new
    assert (difference == {}) == (old == new)


class Recorder:
    """Remembers requests in place of an API server."""

    def __init__(self, answer: Object | ApiError) -> None:
        self.patches: list[Object] = []
        self._answer = answer

    async def merge_patch(
        self, resource: ResourceType, name: str, patch: Object, namespace: str, **options: Any
    ) -> Object:
        assert (resource, name, namespace) == (TRAINING_JOBS, "a", "team")
        assert options["subresource"] == "status"
        self.patches.append(patch)
        if isinstance(self._answer, ApiError):
            raise self._answer
        return self._answer


def obj(version: int, status: Object | None = None) -> Object:
    metadata = {"namespace": "team", "name": "a", "uid": "1", "resourceVersion": str(version)}
    return {"metadata": metadata, "status": status or {}}


def writer(api: Recorder) -> tuple[StatusWriter, ObjectCache]:
    cache = ObjectCache(lambda _: None, lambda _: None)
    cache.observe(obj(1))
    return StatusWriter(api, TRAINING_JOBS, cache), cache  # type: ignore[arg-type]  # the part that is used


async def test_what_has_not_changed_is_not_written() -> None:
    api = Recorder(obj(2))
    status, _ = writer(api)
    assert await status.write(obj(1, {"phase": "Running"}), {"phase": "Running"})
    assert api.patches == []


async def test_only_the_difference_is_written_and_to_the_object_as_it_was_seen() -> None:
    api = Recorder(obj(2, {"phase": "Running"}))
    status, cache = writer(api)
    old = obj(1, {"phase": "Pending", "jobName": "a", "completionTime": "x"})
    assert await status.write(old, {"phase": "Running", "jobName": "a"})
    assert api.patches == [
        {"metadata": {"resourceVersion": "1"}, "status": {"phase": "Running", "completionTime": None}}
    ]
    known = cache.get(("team", "a"))
    assert known is not None
    assert known["metadata"]["resourceVersion"] == "2"


async def test_an_object_that_is_gone_is_told() -> None:
    status, _ = writer(Recorder(ApiError(404, "", "gone")))
    assert not await status.write(obj(1), {"phase": "Running"})


async def test_an_object_that_somebody_changed_is_decided_on_anew() -> None:
    status, _ = writer(Recorder(ApiError(409, "Conflict", "the object has been modified")))
    with pytest.raises(Retry):
        await status.write(obj(1), {"phase": "Running"})


async def test_other_errors_are_raised_to_be_tried_again() -> None:
    status, _ = writer(Recorder(ApiError(500, "", "broken")))
    with pytest.raises(ApiError, match="broken"):
        await status.write(obj(1), {"phase": "Running"})
