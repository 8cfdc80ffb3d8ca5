"""The child Jobs, as a watch tells of them and as the operator itself has just created them."""

import time
from collections.abc import Callable

from mlinfra.kube import KubernetesClient
from mlinfra.kube.informer import ChangeType, Informer
from mlinfra.kube.pulse import Pulse
from mlinfra.kube.resource import JOBS
from mlinfra.resources.names import MANAGED_LABEL, TRAINING_JOB_LABEL
from mlinfra_operator.runtime.cache import Key, Object, key_of

CREATED_SECONDS = 30.0
"""So long a created Job counts without the watch having told of it."""


class ChildJobs:
    """Jobs with our label.

    Args:
        client: client of the cluster.
        namespace: the only namespace to look at; all of them where absent.
        on_change: called with namespace and name of the TrainingJob whose Job changed.
        pulse: of the watch.
    """

    def __init__(
        self,
        client: KubernetesClient,
        namespace: str | None,
        on_change: Callable[[str, str], None],
        pulse: Pulse,
    ) -> None:
        self._notify = on_change
        self._created: dict[Key, tuple[float, Object]] = {}
        self._informer = Informer(
            client,
            JOBS,
            namespace=namespace,
            label_selector=f"{MANAGED_LABEL}=true",
            on_change=self._changed,
            pulse=pulse,
        )
        self.synced = self._informer.synced

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._informer.run()

    def get(self, key: Key) -> Object | None:
        """The Job of that namespace and name."""
        watched = self._informer.objects.get(key)
        created = self._created.get(key)
        if created is None:
            return watched
        since, obj = created
        if watched is not None or time.monotonic() - since > CREATED_SECONDS:
            if watched is None or watched["metadata"]["uid"] == obj["metadata"]["uid"]:
                del self._created[key]
            return watched
        return obj

    def created(self, obj: Object) -> None:
        """A Job that the operator has just created or found."""
        self._created[key_of(obj)] = (time.monotonic(), obj)

    def _changed(self, change: ChangeType, obj: Object) -> None:
        key = key_of(obj)
        created = self._created.get(key)
        if created is not None and created[1]["metadata"]["uid"] == obj["metadata"]["uid"]:
            del self._created[key]
        name = (obj["metadata"].get("labels") or {}).get(TRAINING_JOB_LABEL, key[1])
        self._notify(key[0], name)
