"""How many pods a version has until its autoscaler decides. Pure."""

from collections.abc import Mapping
from typing import Any, cast

from mlinfra.resources.names import FIELD_MANAGER
from mlinfra.resources.serving import Autoscaling, ServedStage
from mlinfra_operator.runtime.cache import Object
from mlinfra_operator.serving.observed import Deployment, Observed


def leading(stage: str | None, observed: Observed) -> Deployment | None:
    """The Deployment of the other version that a stage's Service leads to; None where it leads to none."""
    service = observed.services.get(cast("ServedStage", stage))
    return observed.others.get(service.version or "") if service is not None else None


def pods_until_scaled(scaling: Autoscaling, stored: Object | None, before: Deployment | None) -> int | None:
    """The number of pods to apply; None once the autoscaler has set one.

    A field that its last owner no longer applies is set back to its default, which is one pod: so the number
    is applied as long as it is the operator's.

    Args:
        scaling: the autoscaler's bounds.
        stored: the Deployment as the API server has it; None where there is none.
        before: the version whose requests it will have.
    """
    least = before.desired if before is not None else scaling.min_replicas
    bounded = max(scaling.min_replicas, min(least, scaling.max_replicas))
    if stored is None:
        return bounded
    owned = any(_owns_replicas(entry) for entry in stored["metadata"].get("managedFields") or ())
    return max(bounded, int(stored["spec"]["replicas"])) if owned else None


def _owns_replicas(entry: Mapping[str, Any]) -> bool:
    ours = entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
    return ours and "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
