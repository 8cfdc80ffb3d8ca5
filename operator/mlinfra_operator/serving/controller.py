"""Carries out the plans of serving, for one ModelVersion at a time; of one model one at a time."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import get_args

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.informer import ChangeType, Informer
from mlinfra.kube.pulse import Pulse
from mlinfra.kube.resource import AUTOSCALERS, DEPLOYMENTS, PODS, SERVICES
from mlinfra.resources import ModelVersion
from mlinfra.resources.model_version import ModelVersionStatus
from mlinfra.resources.names import FIELD_MANAGER, MANAGED_LABEL, MODEL_LABEL, MODEL_VERSION_LABEL
from mlinfra.resources.serving import ServedStage
from mlinfra.tracking.errors import TrackingRefusedError, TrackingUnavailableError
from mlinfra_operator.conditions import Event, merge, timestamp
from mlinfra_operator.naming import service_name, slug
from mlinfra_operator.runtime import mlflow_calls
from mlinfra_operator.runtime.cache import Key, Object, ObjectCache, key_of
from mlinfra_operator.runtime.invalid import read
from mlinfra_operator.runtime.mlflow_registry import Mlflow
from mlinfra_operator.runtime.work_queue import Retry
from mlinfra_operator.serving.autoscaling import leading, pods_until_scaled
from mlinfra_operator.serving.builder import (
    ServerDefaults,
    build_autoscaler,
    build_deployment,
    build_service,
    labels_of,
)
from mlinfra_operator.serving.canary import Share, share_of
from mlinfra_operator.serving.observed import (
    SPEC_HASH_ANNOTATION,
    Deployment,
    Observed,
    Successor,
    Trouble,
    deployment_of,
    ready_address_of,
    service_of,
    trouble_of,
)
from mlinfra_operator.serving.plan import (
    CONDITION,
    Action,
    ApplyDeployment,
    DeleteDeployment,
    ReadDigest,
    ReadPods,
    ServingPlan,
    SwitchService,
    is_served_in,
    plan,
)

MAX_ROUNDS = 8
"""More than the longest way through the plan."""
CONFLICT = 409
CLIENT_ERRORS = range(400, 500)
FORBIDDEN = 403

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """What serving adds to a ModelVersion's status, and what follows."""

    status: ModelVersionStatus
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None


class ServingController:
    """Serves versions.

    Args:
        client: client of the cluster.
        mlflow: the MLflow server.
        versions: all ModelVersions in scope.
        namespace: the only namespace in scope; all of them where absent.
        defaults: what every model server is given.
        enqueue: called with each ModelVersion that has to be looked at.
        services: all Services that the operator made.
        pulse: of the watch of Deployments.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        mlflow: Mlflow,
        versions: ObjectCache,
        namespace: str | None,
        defaults: ServerDefaults,
        enqueue: Callable[[Key], None],
        services: Informer,
        pulse: Pulse,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._mlflow = mlflow
        self._versions = versions
        self._defaults = defaults
        self._enqueue = enqueue
        self._clock = clock
        self.deployments = Informer(
            client,
            DEPLOYMENTS,
            namespace=namespace,
            label_selector=f"{MANAGED_LABEL}=true,{MODEL_LABEL}",
            on_change=self._deployment_changed,
            pulse=pulse,
        )
        self._services = services

    async def address_of(self, namespace: str, model_name: str) -> str | None:
        """Where to ask the version of a model that is in Production; None where none is served.

        It is the ClusterIP of the model's Service; while that leads to a canary and to the version before, a
        pod of the canary.

        Raises:
            ApiError, httpx.TransportError: the canary's pods cannot be listed.
        """
        found = self._services.objects.get((namespace, service_name(model_name, "Production")))
        if found is None:
            return None
        service = service_of(found)
        if service.canary is None:
            return service.address
        labels = {MODEL_LABEL: slug(model_name), MODEL_VERSION_LABEL: service.canary}
        return ready_address_of(await self._pods(namespace, labels)) or service.address

    async def settle(self, version: ModelVersion, status: ModelVersionStatus) -> Settled:
        """Serve a version as its stage asks for.

        Args:
            version: the ModelVersion.
            status: its status as it is about to be written.

        Raises:
            Retry: to be tried again with a growing delay.
        """
        # Once it is known it stays: who may write to MLflow's tags cannot have another file served.
        status = status.model_copy(update={"digest": version.status.digest})
        observed = self._observe(version)
        for _ in range(MAX_ROUNDS):
            now = self._clock()
            share = share_of(version, status, observed, now)
            spec_hash = self._wanted_hash(version, status, observed, share)
            decided = plan(version, status, observed, spec_hash, now)
            if not decided.actions:
                return self._settled(version, status, observed, decided)
            for action in decided.actions:
                observed = await self._act(action, version, status, observed)
        raise RuntimeError(f"serving of {version.metadata.name}: no end after {MAX_ROUNDS} plans")

    def _settled(
        self, version: ModelVersion, status: ModelVersionStatus, observed: Observed, decided: ServingPlan
    ) -> Settled:
        others = [condition for condition in status.conditions if condition.type != CONDITION]
        told = merge(
            version.status.conditions,
            (decided.condition,) if decided.condition is not None else (),
            generation=version.metadata.generation,
            now=self._clock(),
        )
        update = {
            "conditions": [*others, *told],
            "endpoint": decided.endpoint,
            "canary": decided.canary,
            "took_over_at": version.status.took_over_at
            or (timestamp(self._clock()) if decided.took_over else None),
            "digest": _digest(status, observed),
        }
        return Settled(status.model_copy(update=update), decided.events, decided.requeue_after)

    def _observe(self, version: ModelVersion) -> Observed:
        namespace, model = version.metadata.namespace, version.spec.model_name
        deployment = self.deployments.objects.get((namespace, version.metadata.name))
        services = {
            stage: service_of(found)
            for stage in get_args(ServedStage)
            if (found := self._services.objects.get((namespace, service_name(model, stage)))) is not None
        }
        siblings = self._siblings(version)
        return Observed(
            known=self.deployments.synced.is_set() and self._services.synced.is_set(),
            deployment=deployment_of(deployment) if deployment is not None else None,
            others=self._others(version),
            services=services,
            successors=_successors(siblings, version),
            siblings={
                obj["metadata"]["name"]: obj["metadata"]["uid"]
                for obj in siblings
                if "deletionTimestamp" not in obj["metadata"]
            },
        )

    def _others(self, version: ModelVersion) -> dict[str, Deployment]:
        """The Deployments of the model's other versions, by number."""
        metadata, model = version.metadata, slug(version.spec.model_name)
        found = [
            deployment_of(obj)
            for obj in self.deployments.objects.values()
            if obj["metadata"]["namespace"] == metadata.namespace
            and obj["metadata"]["name"] != metadata.name
            and obj["metadata"]["labels"][MODEL_LABEL] == model
        ]
        return {each.version: each for each in found if each.version != version.spec.version}

    def _siblings(self, version: ModelVersion) -> list[Object]:
        """All ModelVersions of the model, with this one."""
        return [
            obj
            for obj in self._versions
            if obj["metadata"].get("namespace") == version.metadata.namespace
            and obj["spec"].get("modelName") == version.spec.model_name
        ]

    def _wanted_hash(
        self, version: ModelVersion, status: ModelVersionStatus, observed: Observed, share: Share | None
    ) -> str | None:
        serving = version.spec.serving
        if serving is None or (status.digest is None and observed.digest == "unasked"):
            return None
        manifest = self._manifest(version, status, observed, share)
        found: str = manifest["metadata"]["annotations"][SPEC_HASH_ANNOTATION]
        return found

    def _manifest(
        self, version: ModelVersion, status: ModelVersionStatus, observed: Observed, share: Share | None
    ) -> Object:
        serving = version.spec.serving
        if serving is None:
            raise ValueError(f"{version.metadata.name} is not to be served")
        deployment = observed.deployment
        # Other labels would replace the pods of a canary that takes over, and those of one that has.
        beside = deployment.beside if deployment is not None else frozenset()
        return build_deployment(
            version,
            serving,
            digest=_digest(status, observed),
            defaults=self._defaults,
            beside=beside if share is None else {share.beside},
            canary_pods=share.pods if share is not None else None,
        )

    async def _act(
        self, action: Action, version: ModelVersion, status: ModelVersionStatus, observed: Observed
    ) -> Observed:
        try:
            match action:
                case ReadDigest():
                    return await self._read_digest(version, observed)
                case ReadPods():
                    return replace(observed, trouble=trouble_of(await self._pods_of(version)))
                case ApplyDeployment():
                    return await self._apply_deployment(action, version, status, observed)
                case DeleteDeployment():
                    return await self._delete_deployment(action, version, observed)
                case SwitchService():
                    return await self._switch_service(action, version, observed)
        except ApiError as error:
            if error.status not in CLIENT_ERRORS:
                raise
            reason = "Forbidden" if error.status == FORBIDDEN else "DeploymentRejected"
            return replace(observed, refusal=Trouble(reason, str(error)))

    async def _read_digest(self, version: ModelVersion, observed: Observed) -> Observed:
        spec = version.spec
        try:
            digest = await self._mlflow.call(mlflow_calls.model_digest, spec.model_name, spec.version)
        except TrackingUnavailableError as error:
            raise Retry from error
        except TrackingRefusedError as error:
            return replace(observed, refusal=Trouble("MLflowRefused", str(error)))
        return replace(observed, digest=digest)

    async def _pods_of(self, version: ModelVersion) -> list[Object]:
        return await self._pods(version.metadata.namespace, labels_of(version))

    async def _pods(self, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        pods, _ = await self._client.list(PODS, namespace, label_selector=selector)
        return pods

    async def _apply_deployment(
        self, action: ApplyDeployment, version: ModelVersion, status: ModelVersionStatus, observed: Observed
    ) -> Observed:
        before, serving = observed.deployment, version.spec.serving
        manifest = self._manifest(version, status, observed, action.share)
        if serving is not None and serving.autoscaling is not None and action.share is None:
            stored = self.deployments.objects.get(key_of(manifest)) if before is not None else None
            pods = pods_until_scaled(serving.autoscaling, stored, leading(status.phase, observed))
            if pods is not None:
                manifest["spec"]["replicas"] = pods
        applied = await self._client.apply(manifest, field_manager=FIELD_MANAGER)
        logger.info("applied Deployment %s", version.metadata.name)
        scaler = (
            build_autoscaler(version, serving, deployment_uid=applied["metadata"]["uid"])
            if serving is not None and action.share is None
            else None
        )
        if scaler is not None:
            await self._client.apply(scaler, field_manager=FIELD_MANAGER)
        elif before is not None and before.autoscaled:
            await self._client.delete(AUTOSCALERS, version.metadata.name, version.metadata.namespace)
        self.deployments.remember(applied)
        return replace(observed, deployment=deployment_of(applied))

    async def _delete_deployment(
        self, action: DeleteDeployment, version: ModelVersion, observed: Observed
    ) -> Observed:
        namespace = version.metadata.namespace
        try:
            await self._client.delete(DEPLOYMENTS, action.name, namespace, uid=action.uid)
        except ApiError as error:
            # Another object has the name by now: the one that was meant is gone.
            if error.status != CONFLICT:
                raise
        logger.info("deleted Deployment %s", action.name)
        own = observed.deployment if observed.deployment and observed.deployment.uid != action.uid else None
        others = {number: each for number, each in observed.others.items() if each.uid != action.uid}
        return replace(observed, deployment=own, others=others)

    async def _switch_service(
        self, action: SwitchService, version: ModelVersion, observed: Observed
    ) -> Observed:
        metadata, before = version.metadata, observed.services.get(action.stage)
        owners = {
            name: uid
            for name, uid in (before.owners if before is not None else {}).items()
            if observed.siblings.get(name) == uid
        }
        owners[metadata.name] = metadata.uid
        manifest = build_service(version, action.stage, action.lead, owners=owners)
        if before is None:
            # The watch tells of our Services alone: another one of that name must not be taken over.
            existing = await self._client.find(SERVICES, manifest["metadata"]["name"], metadata.namespace)
            if existing is not None and not service_of(existing).ours:
                return replace(observed, services={**observed.services, action.stage: service_of(existing)})
        applied = await self._client.apply(manifest, field_manager=FIELD_MANAGER)
        beside = f" and {action.lead.canary}" if action.lead.canary is not None else ""
        logger.info(
            "Service %s leads to version %s%s", manifest["metadata"]["name"], action.lead.version, beside
        )
        self._services.remember(applied)
        self._enqueue_siblings(applied, but=(metadata.namespace, metadata.name))
        return replace(observed, services={**observed.services, action.stage: service_of(applied)})

    def _deployment_changed(self, change: ChangeType, obj: Object) -> None:
        self._enqueue_siblings(obj, version=(obj["metadata"].get("labels") or {}).get(MODEL_VERSION_LABEL))

    def service_gone(self, obj: Object) -> None:
        """A model's Service is deleted: one of its versions makes it again."""
        self._enqueue_siblings(obj)

    def _enqueue_siblings(self, obj: Object, *, version: str | None = None, but: Key | None = None) -> None:
        """Look at the model's versions again, or at one of them."""
        model = (obj["metadata"].get("labels") or {}).get(MODEL_LABEL)
        for other in self._versions:
            if other["metadata"].get("namespace") != obj["metadata"].get("namespace"):
                continue
            spec = other["spec"]
            if slug(str(spec.get("modelName"))) != model or version not in (None, spec.get("version")):
                continue
            if key_of(other) != but:
                self._enqueue(key_of(other))


def _digest(status: ModelVersionStatus, observed: Observed) -> str | None:
    if status.digest is not None:
        return status.digest
    return None if observed.digest == "unasked" else observed.digest


def _successors(siblings: list[Object], version: ModelVersion) -> dict[ServedStage, Successor]:
    found: dict[ServedStage, Successor] = {}
    for stage in get_args(ServedStage):
        for obj in siblings:
            phase = (obj.get("status") or {}).get("phase")
            if obj["metadata"]["name"] == version.metadata.name or phase != stage:
                continue
            other = read(ModelVersion, obj)
            # One that cannot be read may be served: whoever answers goes on until it is known.
            if other is None or is_served_in(other, stage):
                found[stage] = Successor(str(obj["metadata"]["name"]), str(obj["spec"].get("version")))
    return found
