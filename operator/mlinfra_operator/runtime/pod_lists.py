"""Lists the pods of TrainingJobs: those that are asked for while a list is under way share the next one."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from mlinfra.kube import KubernetesClient
from mlinfra.kube.resource import PODS
from mlinfra.resources.names import TRAINING_JOB_UID_LABEL
from mlinfra_operator.trainingjob.observed import PodFacts, pod_facts

Found = dict[str, tuple[PodFacts, ...]]
"""By UID of the TrainingJob."""


@dataclass(slots=True)
class _Next:
    """The list of a namespace that has not begun.

    Attributes:
        uids: of the TrainingJobs whose pods it lists.
    """

    uids: set[str] = field(default_factory=set)
    found: asyncio.Task[Found] | None = None


class PodLists:
    """Pods by the TrainingJob's UID, as they are at the time of asking or later.

    For each list by label the API server looks at all pods of a namespace: of many TrainingJobs that end
    at once a list each would make it look at all of them as often.
    """

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client
        self._next: dict[str, _Next] = {}
        self._turn: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, namespace: str, uid: str) -> tuple[PodFacts, ...]:
        """The pods of one TrainingJob.

        Raises:
            ApiError, httpx.TransportError: they cannot be listed.
        """
        following = self._next.setdefault(namespace, _Next())
        following.uids.add(uid)
        if following.found is None:
            following.found = asyncio.create_task(self._list(namespace, following))
        # Others wait for it too: who is cancelled does not cancel it.
        found = await asyncio.shield(following.found)
        return found.get(uid, ())

    async def _list(self, namespace: str, following: _Next) -> Found:
        async with self._turn[namespace]:
            del self._next[namespace]
            selector = f"{TRAINING_JOB_UID_LABEL} in ({','.join(sorted(following.uids))})"
            pods, _ = await self._client.list(PODS, namespace, label_selector=selector)
        found: defaultdict[str, list[PodFacts]] = defaultdict(list)
        for pod in pods:
            found[pod["metadata"]["labels"][TRAINING_JOB_UID_LABEL]].append(pod_facts(pod))
        return {uid: tuple(facts) for uid, facts in found.items()}
