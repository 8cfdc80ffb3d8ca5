"""Changes an object only as it was when the change was decided."""

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.resource import ResourceType
from mlinfra.resources.names import FIELD_MANAGER
from mlinfra_operator.runtime.cache import Object, ObjectCache
from mlinfra_operator.runtime.status import CONFLICT, NOT_FOUND
from mlinfra_operator.runtime.work_queue import Retry


async def patch_guarded(
    client: KubernetesClient, resource: ResourceType, cache: ObjectCache, obj: Object, patch: Object
) -> Object:
    """The object after a merge patch, which the cache remembers.

    Raises:
        Retry: it is gone, or somebody changed it meanwhile.
    """
    metadata = obj["metadata"]
    # With the resourceVersion what a person asks for meanwhile is not overwritten.
    guard = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    try:
        answer = await client.merge_patch(
            resource,
            metadata["name"],
            {**patch, "metadata": {**patch.get("metadata", {}), **guard}},
            metadata["namespace"],
            field_manager=FIELD_MANAGER,
        )
    except ApiError as error:
        if error.status in (NOT_FOUND, CONFLICT):
            raise Retry from error
        raise
    cache.wrote(answer)
    return answer
