"""Lists of pods: those that are asked for meanwhile share one, and see the pods of their own TrainingJob."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlinfra.kube import ApiError
from mlinfra.kube.resource import PODS, ResourceType
from mlinfra.resources.names import TRAINING_JOB_UID_LABEL
from mlinfra_operator.runtime.pod_lists import PodLists

Object = dict[str, Any]


def pod(uid: str, name: str) -> Object:
    labels = {TRAINING_JOB_UID_LABEL: uid}
    metadata = {"name": name, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "status": {"phase": "Running"}}


class Pods:
    """An API server's pods of each namespace; lists take place where `gate` is open."""

    def __init__(self, pods: dict[str, list[Object]]) -> None:
        self.pods = pods
        self.selectors: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def list(
        self, resource: ResourceType, namespace: str, *, label_selector: str
    ) -> tuple[list[Object], str]:
        assert resource == PODS
        self.selectors.append((namespace, label_selector))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        label, _, values = label_selector.partition(" in ")
        asked = values.strip("()").split(",")
        return [found for found in self.pods[namespace] if found["metadata"]["labels"][label] in asked], "1"


def lists_of(api: Pods) -> PodLists:
    return PodLists(api)  # type: ignore[arg-type]  # the part that is used


async def names(lists: PodLists, namespace: str, uid: str) -> list[str]:
    return [found.name for found in await lists.of(namespace, uid)]


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_is_asked_while_a_list_is_under_way_shares_the_next_one() -> None:
    api = Pods({"team": [pod("1", "a"), pod("2", "b"), pod("2", "c")], "other": [pod("9", "z")]})
    lists = lists_of(api)
    api.gate.clear()
    first = asyncio.create_task(names(lists, "team", "1"))
    await settled()
    api.pods["team"].append(pod("1", "d"))
    later = [asyncio.create_task(names(lists, "team", uid)) for uid in ("1", "2", "3")]
    elsewhere = asyncio.create_task(names(lists, "other", "9"))
    await settled()
    api.gate.set()
    assert await first == ["a", "d"]
    assert await asyncio.gather(*later) == [["a", "d"], ["b", "c"], []]
    assert await elsewhere == ["z"]
    assert api.selectors == [
        ("team", f"{TRAINING_JOB_UID_LABEL} in (1)"),
        ("other", f"{TRAINING_JOB_UID_LABEL} in (9)"),
        ("team", f"{TRAINING_JOB_UID_LABEL} in (1,2,3)"),
    ]


async def test_who_stops_waiting_takes_the_list_from_nobody() -> None:
    api = Pods({"team": [pod("1", "a"), pod("2", "b")]})
    lists = lists_of(api)
    api.gate.clear()
    impatient, patient = (asyncio.create_task(names(lists, "team", uid)) for uid in ("1", "2"))
    await settled()
    impatient.cancel()
    api.gate.set()
    assert await patient == ["b"]
    assert impatient.cancelled()


async def test_a_failure_is_that_of_all_who_asked_and_the_next_list_is_another() -> None:
    api = Pods({"team": [pod("1", "a")]})
    lists = lists_of(api)
    api.failure = ApiError(403, "Forbidden", "pods is forbidden")
    outcomes = await asyncio.gather(*(names(lists, "team", uid) for uid in "12"), return_exceptions=True)
    assert outcomes == [api.failure, api.failure]
    api.failure = None
    assert await names(lists, "team", "1") == ["a"]


@given(st.lists(st.tuples(st.sampled_from(["team", "other"]), st.integers(0, 5), st.integers(0, 3))))
def test_each_sees_the_pods_of_its_own_training_job(asked: list[tuple[str, int, int]]) -> None:
    async def ask(lists: PodLists, namespace: str, uid: int, steps: int) -> list[str]:
        for _ in range(steps):
            await asyncio.sleep(0)
        return await names(lists, namespace, str(uid))

    async def ask_all() -> list[list[str]]:
        pods = {
            namespace: [
                pod(str(uid), f"{namespace}-{uid}-{number}") for uid in range(5) for number in range(uid)
            ]
            for namespace in ("team", "other")
        }
        api = Pods(pods)
        found = await asyncio.gather(*(ask(lists, *each) for lists in [lists_of(api)] for each in asked))
        assert len(api.selectors) <= len(asked)
        return found

    for (namespace, uid, _), found in zip(asked, asyncio.run(ask_all()), strict=True):
        assert found == [f"{namespace}-{uid}-{number}" for number in range(uid if uid < 5 else 0)]
