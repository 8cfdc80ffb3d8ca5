"""What to do next so that a version is served, or no longer is. Pure: no clock, no input, no output.

A model's Service leads to one version. It turns to another only once all pods of that one are ready; the
pods before stay for the rollback window, so that the way back takes no start.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast, get_args

from mlinfra.resources.model_version import ModelVersion, ModelVersionStatus
from mlinfra.resources.serving import ServedStage, Serving
from mlinfra_operator import conditions
from mlinfra_operator.conditions import Event, Observation
from mlinfra_operator.serving.builder import PORT
from mlinfra_operator.serving.observed import Deployment, Observed, Service, Trouble

CONDITION = "Serving"
WAIT_SECONDS = 5.0
"""How often pods that are not ready are asked why: the Deployment tells only that they are not."""
SETTLED_SECONDS = 300.0
REFUSED_SECONDS = 15.0
"""How soon what was refused is asked for again: a right or a quota is granted without a word to us."""
LATE = timedelta(milliseconds=50)
"""Rather a little late than too early: nothing would be due then."""
QUIET = ("NotInStage", "NotReady", "Starting", "StageUnknown", "UntilReplaced", "Ending")
"""Reasons that pass by themselves and deserve no Event."""


@dataclass(frozen=True, slots=True)
class ReadDigest:
    """Ask MLflow for the SHA-256 of the model's file."""


@dataclass(frozen=True, slots=True)
class ReadPods:
    """List the version's pods."""


@dataclass(frozen=True, slots=True)
class ApplyDeployment:
    """Have the version's Deployment as its spec asks for."""


@dataclass(frozen=True, slots=True)
class DeleteDeployment:
    """Delete this very Deployment."""

    uid: str


@dataclass(frozen=True, slots=True)
class SwitchService:
    """Let the model's Service in a stage lead to this version, or belong to it as well."""

    stage: ServedStage
    switched_at: datetime
    previous: str | None


Action = ReadDigest | ReadPods | ApplyDeployment | DeleteDeployment | SwitchService


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What to do next, or where there is nothing more to do now, what to tell.

    Attributes:
        actions: to be carried out; then the plan is made anew.
        condition: what the condition ``Serving`` says; none where the version is not to be served.
        endpoint: where the version answers.
        events: to post once the status is written.
        requeue_after: seconds after which to look again.
    """

    actions: tuple[Action, ...] = ()
    condition: Observation | None = None
    endpoint: str | None = None
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None


def plan(
    version: ModelVersion,
    status: ModelVersionStatus,
    observed: Observed,
    spec_hash: str | None,
    now: datetime,
) -> ServingPlan:
    """The next step towards serving a version, or not serving it.

    Args:
        version: the ModelVersion.
        status: its status as it is about to be written: the phase tells the stage that it has.
        observed: what is known now.
        spec_hash: what its Deployment has to be made from; None before the digest is known.
        now: the time of the observation.
    """
    return _Planner(version, status, observed, spec_hash, now).plan()


def is_served_in(version: ModelVersion, stage: str | None) -> bool:
    """Whether a version asks to be served in a stage."""
    serving = version.spec.serving
    return serving is not None and serving.enabled and stage in serving.stages


@dataclass(frozen=True, slots=True)
class _Planner:
    version: ModelVersion
    status: ModelVersionStatus
    observed: Observed
    spec_hash: str | None
    now: datetime

    def plan(self) -> ServingPlan:
        serving, deployment = self.version.spec.serving, self.observed.deployment
        if serving is None and deployment is None:
            return ServingPlan()
        if not self.observed.known:
            return self._tell("Unknown", "Starting", "Deployments are not known yet", wait=1.0)
        if deployment is not None and deployment.deleting:
            return self._tell("False", "Ending", "its Deployment is being deleted", wait=WAIT_SECONDS)
        if serving is None or not serving.enabled:
            if deployment is not None and self._is_own(deployment):
                return ServingPlan((DeleteDeployment(deployment.uid),))
            return ServingPlan()
        if self.status.phase in (None, "Pending"):
            # MLflow may have lost it for a moment: what runs goes on.
            return self._tell("Unknown", "StageUnknown", "its stage in MLflow is not known now")
        if is_served_in(self.version, self.status.phase):
            return self._serve(serving, cast("ServedStage", self.status.phase))
        return self._stand_by(serving)

    def _serve(self, serving: Serving, stage: ServedStage) -> ServingPlan:
        observed, service = self.observed, self.observed.services.get(stage)
        deployment = observed.deployment
        if self.status.digest is None and observed.digest == "unasked" and observed.refusal is None:
            return ServingPlan((ReadDigest(),))
        if deployment is not None and not self._is_own(deployment):
            name = self.version.metadata.name
            message = f"a Deployment {name} exists that is not of this ModelVersion: delete it"
            return self._tell("False", "DeploymentNameTaken", message, wait=WAIT_SECONDS)
        if service is not None and not service.ours:
            message = f"a Service {service.name} exists that mlinfra did not make: delete it"
            return self._tell("False", "ServiceNameTaken", message, wait=SETTLED_SECONDS)
        if observed.refusal is not None:
            reason, message = observed.refusal.reason, observed.refusal.message
            return self._tell("False", reason, message, service=service, wait=REFUSED_SECONDS)
        if deployment is None or deployment.spec_hash != self.spec_hash:
            return ServingPlan((ApplyDeployment(),))
        leads_here = service is not None and service.version == self.version.spec.version
        if leads_here and service is not None and not self._belongs(service):
            return ServingPlan((self._switch(stage, service),))
        if leads_here and deployment.ready > 0:
            return self._serves(deployment, service)
        if not deployment.available:
            return self._waits(deployment, service)
        return ServingPlan((self._switch(stage, service),))

    def _switch(self, stage: ServedStage, service: Service | None) -> SwitchService:
        if service is None:
            return SwitchService(stage, self.now, None)
        if service.version == self.version.spec.version:
            return SwitchService(stage, service.switched_at or self.now, service.previous)
        return SwitchService(stage, self.now, service.version)

    def _serves(self, deployment: Deployment, service: Service | None) -> ServingPlan:
        message = f"{deployment.ready} of {deployment.desired} pods are ready"
        return self._tell("True", "Serving", message, service=service, wait=SETTLED_SECONDS)

    def _waits(self, deployment: Deployment, service: Service | None) -> ServingPlan:
        """Not ready: why, and who answers meanwhile."""
        if self.observed.trouble is None:
            return ServingPlan((ReadPods(),))
        trouble = self.observed.trouble
        if deployment.failure is not None:
            trouble = Trouble("PodsNotCreated", deployment.failure)
        message = f"{deployment.ready} of {deployment.desired} pods are ready: {trouble.message}"
        if service is not None and service.version not in (None, self.version.spec.version):
            message += f"; version {service.version} answers until they are"
        return self._tell("False", trouble.reason, message, wait=WAIT_SECONDS)

    def _stand_by(self, serving: Serving) -> ServingPlan:
        deployment = self.observed.deployment
        if deployment is None or not self._is_own(deployment):
            wanted = " or ".join(serving.stages)
            return self._tell("False", "NotInStage", f"it is served while it is in {wanted}")
        leading = [
            stage for stage, service in self._services() if service.version == self.version.spec.version
        ]
        for stage in leading:
            successor = self.observed.successors.get(stage)
            if successor is not None:
                message = f"it answers until the pods of {successor.name} are ready"
                service = self.observed.services[stage]
                return self._tell("True", "UntilReplaced", message, service=service, wait=SETTLED_SECONDS)
        until = self._keep_until(serving)
        if not deployment.available or self.now >= until:
            return ServingPlan((DeleteDeployment(deployment.uid),))
        wait = (until - self.now + LATE).total_seconds()
        moment = conditions.timestamp(until)
        if leading:
            message = f"it answers until {moment}: no version that is served has its stage"
            service = self.observed.services[leading[0]]
            return self._tell("True", "Leaving", message, service=service, wait=wait)
        message = f"its pods stay until {moment} for a rollback"
        return self._tell("False", "StandsBy", message, wait=wait)

    def _keep_until(self, serving: Serving) -> datetime:
        since = [datetime.fromisoformat(self.status.history[0].time)] if self.status.history else [self.now]
        since += [
            service.switched_at
            for _, service in self._services()
            if service.previous == self.version.spec.version and service.switched_at is not None
        ]
        return max(since) + timedelta(seconds=serving.rollback_window_seconds)

    def _services(self) -> list[tuple[ServedStage, Service]]:
        services = self.observed.services
        return [(stage, services[stage]) for stage in get_args(ServedStage) if stage in services]

    def _is_own(self, deployment: Deployment) -> bool:
        return deployment.owner == self.version.metadata.uid

    def _belongs(self, service: Service) -> bool:
        metadata = self.version.metadata
        return service.owners.get(metadata.name) == metadata.uid

    def _tell(
        self,
        status: conditions.ConditionStatus,
        reason: str,
        message: str,
        *,
        service: Service | None = None,
        wait: float | None = None,
    ) -> ServingPlan:
        observation = Observation(CONDITION, status, reason, message)
        told = conditions.reason_of(self.version.status.conditions, CONDITION) == reason
        news = () if told or reason in QUIET else (Event(_event_type(status, reason), reason, message),)
        endpoint = self._endpoint(service) if service is not None and status == "True" else None
        return ServingPlan((), observation, endpoint, news, wait)

    def _endpoint(self, service: Service) -> str:
        address = service.address or ""
        # Where a Service's address is one of this machine, there are no containers and no DNS.
        embedded = address.startswith("127.")
        host = address if embedded else f"{service.name}.{self.version.metadata.namespace}.svc"
        return f"http://{host}:{PORT}"


def _event_type(status: conditions.ConditionStatus, reason: str) -> conditions.EventType:
    return "Normal" if reason == "StandsBy" or (status == "True" and reason != "Leaving") else "Warning"
