"""What Kueue does to a batch/v1 Job of a queue when it admits and when it evicts it, write by write.

Kueue changes nothing else of a Job: it starts it by one patch that merges the flavor's scheduling directives
into the pod template, and stops it by three: suspend under an annotation, reset of the start time, and the
template as it was. It repeats a write that the API server refuses for now.
"""

import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.resource import JOBS
from mlinfra.resources.names import QUEUE_LABEL
from mlinfra_operator.runtime.status import merge_difference

Object = dict[str, Any]
Wait = Callable[..., Awaitable[Any]]

STOPPING_ANNOTATION = "kueue.x-k8s.io/stopping"
REFUSED_FOR_NOW = (409, 422)
FLAVOR: Object = {
    "nodeSelector": {"flavor": "spot"},
    "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
}


@dataclass(slots=True)
class Kueue:
    """Decides about the Jobs of one namespace; remembers templates as its Workloads do."""

    kube: KubernetesClient
    namespace: str
    wait_for: Wait
    templates: dict[str, Object] = field(default_factory=dict)

    async def admit(self, name: str, flavor: Object | None = None) -> Object:
        """Start a Job that waits, with what its flavor asks of nodes; the Job as it is then."""
        flavor = FLAVOR if flavor is None else flavor
        job = await self.kube.get(JOBS, name, self.namespace)
        assert job["spec"]["suspend"] is True
        queue = job["metadata"]["labels"][QUEUE_LABEL]
        template = job["spec"]["template"]
        self.templates[job["metadata"]["uid"]] = copy.deepcopy(template)
        spec = template["spec"]
        merged = {
            "metadata": {
                "labels": {"kueue.x-k8s.io/podset": "main", "kueue.x-k8s.io/local-queue-name": queue}
            },
            "spec": {
                "nodeSelector": (spec.get("nodeSelector") or {}) | flavor["nodeSelector"],
                "tolerations": (spec.get("tolerations") or []) + flavor["tolerations"],
            },
        }
        return await self._patch(name, {"spec": {"suspend": False, "template": merged}})

    async def evict(self, name: str) -> Object:
        """Stop a Job that was admitted, as for one of higher priority; the Job as it is then."""
        annotations: Object = {STOPPING_ANNOTATION: "true"}
        await self._patch(name, {"metadata": {"annotations": annotations}, "spec": {"suspend": True}})
        job = await self.kube.get(JOBS, name, self.namespace)
        if job["status"].get("startTime") is not None:
            await self._patch(name, {"status": {"startTime": None}}, subresource="status")
        before = self.templates[job["metadata"]["uid"]]
        now = job["spec"]["template"]
        labels = [found["metadata"]["labels"] for found in (now, before)]
        selectors = [found["spec"].get("nodeSelector") or {} for found in (now, before)]
        restored = {
            "metadata": {"labels": merge_difference(*labels)},
            "spec": {
                "nodeSelector": merge_difference(*selectors),
                "tolerations": before["spec"].get("tolerations"),
            },
        }
        annotations[STOPPING_ANNOTATION] = None
        return await self._patch(
            name, {"metadata": {"annotations": annotations}, "spec": {"template": restored}}
        )

    async def _patch(self, name: str, patch: Object, subresource: str | None = None) -> Object:
        async def accepted() -> Object | None:
            try:
                return await self.kube.merge_patch(
                    JOBS, name, patch, self.namespace, subresource=subresource, field_manager="kueue"
                )
            except ApiError as error:
                if error.status not in REFUSED_FOR_NOW:
                    raise
                return None

        changed: Object = await self.wait_for(accepted, f"the API server takes {patch}")
        return changed
