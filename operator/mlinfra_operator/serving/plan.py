"""What to do next so that a version is served, or no longer is. Pure: no clock, no input, no output.

A model's Service leads to one version. It turns to another only once all pods of that one are ready; the
pods before stay for the rollback window, so that the way back takes no start. A canary answers beside the
version before for a while, and then takes over as any other.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast, get_args

from mlinfra.resources.model_version import ModelVersion, ModelVersionStatus
from mlinfra.resources.serving import CanaryStatus, ServedStage, Serving
from mlinfra_operator import conditions
from mlinfra_operator.conditions import Event, Observation
from mlinfra_operator.serving.builder import PORT
from mlinfra_operator.serving.canary import Share, canary_status, ends_at, share_of
from mlinfra_operator.serving.observed import Deployment, Lead, Observed, Service, Trouble

CONDITION = "Serving"
WAIT_SECONDS = 5.0
"""How often pods that are not ready are asked why: the Deployment tells only that they are not."""
CANARY_SECONDS = 15.0
"""How often the pods of a canary are counted against those beside it."""
SETTLED_SECONDS = 300.0
REFUSED_SECONDS = 15.0
"""How soon what was refused is asked for again: a right or a quota is granted without a word to us."""
LATE = timedelta(milliseconds=50)
"""Rather a little late than too early: nothing would be due then."""
QUIET = ("NotInStage", "NotReady", "Starting", "StageUnknown", "UntilReplaced", "TakingOver", "Ending")
"""Reasons that pass by themselves and deserve no Event."""


@dataclass(frozen=True, slots=True)
class ReadDigest:
    """Ask MLflow for the SHA-256 of the model's file."""


@dataclass(frozen=True, slots=True)
class ReadPods:
    """List the version's pods."""


@dataclass(frozen=True, slots=True)
class ApplyDeployment:
    """Have the version's Deployment as its spec asks for; while it is a canary, with its share of pods."""

    share: Share | None = None


@dataclass(frozen=True, slots=True)
class DeleteDeployment:
    """Delete this very Deployment."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class SwitchService:
    """Let the model's Service in a stage lead there, and belong to this version as well."""

    stage: ServedStage
    lead: Lead


Action = ReadDigest | ReadPods | ApplyDeployment | DeleteDeployment | SwitchService


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What to do next, or where there is nothing more to do now, what to tell.

    Attributes:
        actions: to be carried out; then the plan is made anew.
        condition: what the condition ``Serving`` says; none where the version is not to be served.
        endpoint: where the version answers.
        canary: its share of Production's requests; None where it has all or none of them.
        took_over: whether it has all of Production's requests.
        events: to post once the status is written.
        requeue_after: seconds after which to look again.
    """

    actions: tuple[Action, ...] = ()
    condition: Observation | None = None
    endpoint: str | None = None
    canary: CanaryStatus | None = None
    took_over: bool = False
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
        if (left := self._left_behind()) is not None:
            return ServingPlan((_without_canary("Production", left, self.now),))
        if deployment is not None and deployment.deleting:
            return self._tell("False", "Ending", "its Deployment is being deleted", wait=WAIT_SECONDS)
        if serving is None or not serving.enabled:
            if deployment is not None and self._is_own(deployment):
                return ServingPlan((_deletion_of(deployment),))
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
        if (
            service is not None
            and service.canary not in (None, self.version.spec.version)
            and self._can_do_without_canary(service)
        ):
            return ServingPlan((_without_canary(stage, service, self.now),))
        share = share_of(self.version, self.status, observed, self.now)
        if share is not None and (crowd := self._in_the_way(share)):
            return self._make_room(crowd)
        if deployment is None or deployment.spec_hash != self.spec_hash:
            return ServingPlan((ApplyDeployment(share),))
        if share is not None and service is not None:
            return self._share(deployment, service)
        return self._lead(stage, serving, deployment, service)

    def _lead(
        self, stage: ServedStage, serving: Serving, deployment: Deployment, service: Service | None
    ) -> ServingPlan:
        """Have all requests of the stage, or wait until that can be."""
        own = self.version.spec.version
        leads_here = service is not None and service.version == own
        if (
            leads_here
            and service is not None
            and not (self._belongs(service) and service.grpc == serving.grpc)
        ):
            return ServingPlan((self._switch(stage, service),))
        if leads_here and deployment.ready > 0:
            return self._serves(stage, deployment, service)
        if service is not None and service.canary == own and not _is_complete(deployment, serving):
            return self._takes_over_later(deployment, service)
        if not deployment.available:
            return self._waits(deployment, service)
        return ServingPlan((self._switch(stage, service),))

    def _share(self, deployment: Deployment, service: Service) -> ServingPlan:
        """Have a share of the requests of Production, or wait until that can be."""
        own = self.version.spec.version
        settled = self._belongs(service) and service.grpc >= self._grpc
        if service.canary == own and service.canary_since is not None and settled:
            told = self._canary_status(deployment, service)
            if deployment.ready == 0:
                return replace(self._waits(deployment, service), canary=told)
            until = ends_at(self.version, service) or self.now
            message = (
                f"{told.pods} of {told.pods + told.previous_pods} ready pods are its: {told.percent} % of "
                f"the requests; version {told.previous} answers beside it until {told.until}"
            )
            wait = min((until - self.now + LATE).total_seconds(), CANARY_SECONDS)
            return replace(self._tell("True", "Canary", message, service=service, wait=wait), canary=told)
        if service.canary is None and not deployment.available:
            return self._waits(deployment, service)
        before = _lead_of(service, self.now)
        lead = replace(
            before,
            canary=own,
            canary_since=service.canary_since or self.now,
            # Who asks over gRPC meanwhile is answered by the version that has it alone.
            grpc=service.grpc or self._grpc,
        )
        return ServingPlan((SwitchService("Production", lead),))

    def _takes_over_later(self, deployment: Deployment, service: Service) -> ServingPlan:
        """Its time as a canary is over, and not all its pods are ready."""
        told = self._canary_status(deployment, service)
        if deployment.ready == 0 or self.observed.trouble is None:
            return replace(self._waits(deployment, service), canary=told)
        message = (
            f"{deployment.ready} of {deployment.desired} pods are ready: "
            f"{_trouble(deployment, self.observed.trouble).message}; it takes over from version "
            f"{service.version} once all are"
        )
        decided = self._tell("True", "TakingOver", message, service=service, wait=WAIT_SECONDS)
        return replace(decided, canary=told)

    def _canary_status(self, deployment: Deployment, service: Service) -> CanaryStatus:
        previous = self.observed.others.get(service.version or "")
        return canary_status(self.version, service, deployment, previous)

    def _in_the_way(self, share: Share) -> tuple[Deployment, ...]:
        """Deployments of other versions whose pods a Service of both versions would lead to as well."""
        others = self.observed.others.values()
        return tuple(each for each in others if share.beside in each.beside and each.version != share.beside)

    def _make_room(self, crowd: tuple[Deployment, ...]) -> ServingPlan:
        going = tuple(_deletion_of(each) for each in crowd if not each.deleting and each.owner is not None)
        if going:
            return ServingPlan(going)
        names = ", ".join(each.name for each in crowd)
        message = f"it waits until the Deployment {names} is gone, which was a canary beside the same version"
        return self._tell("False", "Starting", message, wait=WAIT_SECONDS)

    def _switch(self, stage: ServedStage, service: Service | None) -> SwitchService:
        own = self.version.spec.version
        if service is None or service.version is None:
            return SwitchService(stage, Lead(own, self.now, grpc=self._grpc))
        if service.version == own:
            return SwitchService(stage, replace(_lead_of(service, self.now), grpc=self._grpc))
        return SwitchService(stage, Lead(own, self.now, service.version, grpc=self._grpc))

    def _serves(self, stage: ServedStage, deployment: Deployment, service: Service | None) -> ServingPlan:
        message = f"{deployment.ready} of {deployment.desired} pods are ready"
        decided = self._tell("True", "Serving", message, service=service, wait=SETTLED_SECONDS)
        return replace(decided, took_over=stage == "Production")

    def _waits(self, deployment: Deployment, service: Service | None) -> ServingPlan:
        """Not ready: why, and who answers meanwhile."""
        if self.observed.trouble is None:
            return ServingPlan((ReadPods(),))
        trouble = _trouble(deployment, self.observed.trouble)
        message = f"{deployment.ready} of {deployment.desired} pods are ready: {trouble.message}"
        if service is not None and service.version not in (None, self.version.spec.version):
            message += f"; version {service.version} answers until they are"
        return self._tell("False", trouble.reason, message, wait=WAIT_SECONDS)

    def _stand_by(self, serving: Serving) -> ServingPlan:
        deployment = self.observed.deployment
        if deployment is None or not self._is_own(deployment):
            wanted = " or ".join(serving.stages)
            return self._tell("False", "NotInStage", f"it is served while it is in {wanted}")
        own = self.version.spec.version
        leading = [stage for stage, service in self._services() if own in (service.version, service.canary)]
        for stage in leading:
            successor = self.observed.successors.get(stage)
            if successor is not None:
                service = self.observed.services[stage]
                message = f"it answers until the pods of {successor.name} are ready"
                if service.canary not in (None, own):
                    message = f"it answers beside version {service.canary} until that takes over"
                return self._tell("True", "UntilReplaced", message, service=service, wait=SETTLED_SECONDS)
        if not leading and self._never_took_over(deployment):
            return ServingPlan((_deletion_of(deployment),))
        until = self._keep_until(serving)
        if not deployment.available or self.now >= until:
            return ServingPlan((_deletion_of(deployment),))
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
            if self.version.spec.version in (service.version, service.previous)
            and service.switched_at is not None
        ]
        return max(since) + timedelta(seconds=serving.rollback_window_seconds)

    def _services(self) -> list[tuple[ServedStage, Service]]:
        services = self.observed.services
        return [(stage, services[stage]) for stage in get_args(ServedStage) if stage in services]

    def _left_behind(self) -> Service | None:
        """Production's Service where it still leads to the pods of this version, no canary any more."""
        service, serving = self.observed.services.get("Production"), self.version.spec.serving
        if service is None or not service.ours or service.canary != self.version.spec.version:
            return None
        if serving is not None and serving.enabled and self.status.phase in (None, "Pending", "Production"):
            return None
        return service if self._can_do_without_canary(service) else None

    def _can_do_without_canary(self, service: Service) -> bool:
        """Whether the version that the Service leads to has pods that answer."""
        own = service.version == self.version.spec.version
        lead = self.observed.deployment if own else self.observed.others.get(service.version or "")
        return lead is not None and lead.ready > 0

    def _never_took_over(self, deployment: Deployment) -> bool:
        """Whether all that its pods were for was a canary that came to no end."""
        was_canary = bool(deployment.beside - {self.version.spec.version})
        return was_canary and self.version.status.took_over_at is None

    @property
    def _grpc(self) -> bool:
        serving = self.version.spec.serving
        return serving is not None and serving.grpc

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
        return ServingPlan(condition=observation, endpoint=endpoint, events=news, requeue_after=wait)

    def _endpoint(self, service: Service) -> str:
        address = service.address or ""
        # Where a Service's address is one of this machine, there are no containers and no DNS.
        embedded = address.startswith("127.")
        host = address if embedded else f"{service.name}.{self.version.metadata.namespace}.svc"
        return f"http://{host}:{PORT}"


def _deletion_of(deployment: Deployment) -> DeleteDeployment:
    return DeleteDeployment(deployment.name, deployment.uid)


def _trouble(deployment: Deployment, pods: Trouble) -> Trouble:
    if deployment.failure is None:
        return pods
    return Trouble("PodsNotCreated", deployment.failure)


def _lead_of(service: Service, now: datetime) -> Lead:
    """Where a Service leads, but for a canary."""
    return Lead(service.version or "", service.switched_at or now, service.previous, grpc=service.grpc)


def _without_canary(stage: ServedStage, service: Service, now: datetime) -> SwitchService:
    # From now on: where nothing replaces the version that is left, its window begins here.
    return SwitchService(stage, replace(_lead_of(service, now), switched_at=now))


def _is_complete(deployment: Deployment, serving: Serving) -> bool:
    """Whether it has all the pods that it needs alone: an autoscaler begins with those that a canary had."""
    least = serving.autoscaling.min_replicas if serving.autoscaling is not None else 1
    return deployment.available and deployment.desired >= least


def _event_type(status: conditions.ConditionStatus, reason: str) -> conditions.EventType:
    return "Normal" if reason == "StandsBy" or (status == "True" and reason != "Leaving") else "Warning"
