"""What pods that train together need beside their Job: a Service to find each other by, and a PodGroup."""

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.informer import Informer
from mlinfra.kube.resource import POD_GROUPS
from mlinfra.resources import TrainingJob
from mlinfra.resources.names import FIELD_MANAGER
from mlinfra_operator.trainingjob.distribution import build_peer_service, derived_name
from mlinfra_operator.trainingjob.gang import build_pod_group

CONFLICT = 409


class Companions:
    """Services and PodGroups of TrainingJobs.

    Args:
        client: client of the cluster.
        services: all Services that the operator made.
        gang_offered: whether the API server offers PodGroups.
    """

    def __init__(self, client: KubernetesClient, services: Informer, *, gang_offered: bool) -> None:
        self._client = client
        self._services = services
        self._gang_offered = gang_offered

    def lacks_service(self, job: TrainingJob) -> bool:
        """Whether the Service by which the pods meet is known to be gone."""
        if job.spec.num_nodes == 1 or not self._services.synced.is_set():
            return False
        return (job.metadata.namespace, derived_name(job)) not in self._services.objects

    async def ensure(self, job: TrainingJob) -> None:
        """Make all that the pods need before there are any.

        Raises:
            ApiError: the API server does not create it.
        """
        if job.spec.num_nodes > 1:
            await self.ensure_service(job)
        if job.spec.gang_scheduling and self._gang_offered:
            await self._ensure_pod_group(job)

    async def ensure_service(self, job: TrainingJob) -> None:
        """Make the Service, or give an earlier operator's the labels by which it is watched.

        Raises:
            ApiError: the API server does not create it.
        """
        applied = await self._client.apply(build_peer_service(job), field_manager=FIELD_MANAGER)
        self._services.remember(applied)

    async def _ensure_pod_group(self, job: TrainingJob) -> None:
        manifest, namespace = build_pod_group(job), job.metadata.namespace
        try:
            await self._client.create(POD_GROUPS, manifest, namespace, field_manager=FIELD_MANAGER)
        except ApiError as error:
            # Its name derives from the TrainingJob's UID: what has it is ours.
            if error.status != CONFLICT:
                raise
