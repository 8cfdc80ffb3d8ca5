"""The facts of child Jobs, as a watch tells of them and as the operator itself has just created them."""

import sys
import time
from collections.abc import Callable

from mlinfra.kube import KubernetesClient
from mlinfra.kube.informer import ChangeType, Informer
from mlinfra.kube.pulse import Pulse
from mlinfra.kube.resource import JOBS
from mlinfra.resources.names import MANAGED_LABEL
from mlinfra_operator.runtime.cache import Key, Object, key_of
from mlinfra_operator.trainingjob.observed import ChildJob, child_job

FACTS = "facts"
CREATED_SECONDS = 30.0
"""So long a created Job counts without the watch having told of it."""


class ChildJobs:
    """Jobs with our label.

    Args:
        client: client of the cluster.
        namespace: the only namespace to look at; all of them where absent.
        on_change: called with namespace and name of the TrainingJob where the facts of its Job changed.
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
        self._created: dict[Key, tuple[float, ChildJob]] = {}
        self._told: dict[Key, ChildJob] = {}
        self._informer = Informer(
            client,
            JOBS,
            namespace=namespace,
            label_selector=f"{MANAGED_LABEL}=true",
            on_change=self._changed,
            pulse=pulse,
            keep=kept,
        )
        self.synced = self._informer.synced

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._informer.run()

    def get(self, key: Key) -> ChildJob | None:
        """The Job of that namespace and name."""
        watched = self._told.get(key)
        created = self._created.get(key)
        if created is None:
            return watched
        since, child = created
        if watched is not None or time.monotonic() - since > CREATED_SECONDS:
            if watched is None or watched.uid == child.uid:
                del self._created[key]
            return watched
        return child

    def created(self, obj: Object) -> None:
        """A Job that the operator has just created or found."""
        self._created[key_of(obj)] = (time.monotonic(), child_job(obj))

    def _changed(self, change: ChangeType, obj: Object) -> None:
        key, child = key_of(obj), obj[FACTS]
        known = self.get(key)
        created = self._created.get(key)
        if created is not None and created[1].uid == child.uid:
            del self._created[key]
        if change == "DELETED":
            self._told.pop(key, None)
        else:
            self._told[key] = child
            if known == child:
                return
        self._notify(key[0], child.training_job or key[1])


def kept(obj: Object) -> Object:
    """Who a Job is, and its facts: thousands of Jobs are kept, most of them at rest."""
    metadata = obj["metadata"]
    names = {"namespace": sys.intern(metadata["namespace"]), "name": metadata["name"]}
    version = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    return {"metadata": names | version, FACTS: child_job(obj)}
