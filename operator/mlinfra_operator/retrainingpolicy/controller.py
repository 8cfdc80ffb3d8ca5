"""Carries out the plans of RetrainingPolicies."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import ValidationError

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.resource import MODEL_VERSIONS, RETRAINING_POLICIES, TRAINING_JOBS
from mlinfra.resources import ModelVersion, RetrainingPolicy
from mlinfra.resources.names import FIELD_MANAGER, RETRAINING_POLICY_LABEL
from mlinfra.retraining.rollback import NoRollbackError, holder_of, rollback_of
from mlinfra_operator.modelversion.deletion import is_deleted
from mlinfra_operator.retrainingpolicy.actions import CreateTrainingJob, DeleteTrainingJob, Plan, RollBack
from mlinfra_operator.retrainingpolicy.builder import build_training_job
from mlinfra_operator.retrainingpolicy.checks import Checked, ask_of, last_asked
from mlinfra_operator.retrainingpolicy.observed import (
    Child,
    Observed,
    Refusal,
    child_of,
    is_owned,
    promoted_by_training,
    version_name,
)
from mlinfra_operator.retrainingpolicy.plan import plan
from mlinfra_operator.retrainingpolicy.promotions import Production
from mlinfra_operator.runtime.cache import Key, Object, ObjectCache, key_of, typed
from mlinfra_operator.runtime.events import EventPoster
from mlinfra_operator.runtime.guarded_patch import patch_guarded
from mlinfra_operator.runtime.invalid import read, tell_invalid
from mlinfra_operator.runtime.model_checks import ModelChecks
from mlinfra_operator.runtime.status import StatusWriter
from mlinfra_operator.runtime.work_queue import Retry

MAX_ROUNDS = 16
"""More than a policy may have to start and to delete at once, since a plan deletes all that is surplus."""
CONFLICT = 409
FINAL = (400, 422)
"""Answers that the same request would have again; a quota or a missing right (403) may be mended any time."""
CLIENT_ERRORS = range(400, 500)
BY_THE_LATEST = (CreateTrainingJob, RollBack)
"""Actions that are decided on what the API server says now: nothing takes them back."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """What the controller of RetrainingPolicies works with.

    Attributes:
        checks: asks model servers; None where none are asked.
    """

    client: KubernetesClient
    policies: ObjectCache
    jobs: ObjectCache
    versions: ObjectCache
    status: StatusWriter
    events: EventPoster
    checks: ModelChecks | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class RetrainingPolicyController:
    """Reconciles one RetrainingPolicy at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: Key) -> float | None:
        """Bring a RetrainingPolicy on; seconds after which to look again.

        Raises:
            Retry: to be tried again with a growing delay.
        """
        obj = self._context.policies.get(key)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return None
        try:
            policy = RetrainingPolicy.model_validate(obj)
        except ValidationError as error:
            context = self._context
            await tell_invalid(context.status, context.events, obj, error, context.clock())
            return None
        decided = await self._act(obj, policy)
        if not await self._context.status.write(obj, decided.status.to_wire()):
            return None
        for event in decided.events:
            self._context.events.post(obj, event)
        if decided.retry:
            raise Retry
        return decided.requeue_after

    async def _act(self, obj: Object, policy: RetrainingPolicy) -> Plan:
        created = datetime.fromisoformat(obj["metadata"]["creationTimestamp"])
        checked = self._follow(key_of(obj), policy)
        observed = Observed(
            children=self._children(policy),
            monitors=checked.results if checked is not None else (),
            checked_at=checked.at if checked is not None else None,
            checked_for=checked.request if checked is not None else None,
            production=self._production(policy, self._context.versions),
            promoted=promoted_by_training(
                policy.metadata.name,
                (each for each in self._context.versions if key_of(each)[0] == policy.metadata.namespace),
            ),
        )
        confirmed = False
        for _ in range(MAX_ROUNDS):
            decided = plan(policy, observed, self._context.clock(), created=created)
            if not decided.actions:
                return decided
            if not confirmed and any(isinstance(each, BY_THE_LATEST) for each in decided.actions):
                observed, confirmed = await self._confirmed(obj, policy, observed), True
                continue
            for action in decided.actions:
                match action:
                    case DeleteTrainingJob():
                        observed = await self._delete(action, policy, observed)
                    case CreateTrainingJob():
                        observed = await self._create(action, policy, observed)
                    case RollBack():
                        await self._roll_back(action, policy)
                        observed = replace(observed, rolled_back=True)
        raise RuntimeError(f"RetrainingPolicy {policy.metadata.name}: no end after {MAX_ROUNDS} plans")

    async def _confirmed(self, obj: Object, policy: RetrainingPolicy, observed: Observed) -> Observed:
        """What the API server itself says: a watch may be late, and the answer to a creation lost.

        Raises:
            Retry: the policy, or what its status tells, has changed meanwhile.
        """
        context, metadata = self._context, policy.metadata
        # A training is told of in the status before it is deleted: what is not listed any more is there.
        jobs, _ = await context.client.list(
            TRAINING_JOBS, metadata.namespace, label_selector=f"{RETRAINING_POLICY_LABEL}={metadata.name}"
        )
        policies, _ = await context.client.list(
            RETRAINING_POLICIES, metadata.namespace, field_selector=f"metadata.name={metadata.name}"
        )
        for job in jobs:
            context.jobs.observe(typed(TRAINING_JOBS, job))
        for found in policies:
            context.policies.observe(typed(RETRAINING_POLICIES, found))
        versions = [found["metadata"]["resourceVersion"] for found in policies]
        if versions != [obj["metadata"]["resourceVersion"]]:
            raise Retry
        production = await self._confirmed_production(policy)
        return replace(observed, children=self._children(policy), production=production)

    async def _confirmed_production(self, policy: RetrainingPolicy) -> Production | None:
        """As `_production`, by what the API server itself says.

        Raises:
            Retry: another version asks for Production, and nobody has looked at that yet.
        """
        if policy.spec.rollback is None:
            return None
        listed, _ = await self._context.client.list(MODEL_VERSIONS, policy.metadata.namespace)
        versions = [typed(MODEL_VERSIONS, found) for found in listed]
        for version in versions:
            self._context.versions.observe(version)
        found = self._versions_of(policy, versions)
        if any(each.spec.stage == "Production" and not _is_looked_at(each) for each in found):
            raise Retry
        return self._production(policy, versions)

    def _follow(self, key: Key, policy: RetrainingPolicy) -> Checked | None:
        """Have the policy's model checked from now on; the newest results."""
        checks = self._context.checks
        if checks is None:
            return None
        ask = ask_of(policy)
        checks.follow(key, ask, last=last_asked(policy, ask))
        return checks.latest(key)

    def _versions_of(self, policy: RetrainingPolicy, objects: Iterable[Object]) -> list[ModelVersion]:
        """The versions of the policy's model that are to stay, of those that can be read."""
        read_ones = (read(ModelVersion, obj) for obj in self._raw_versions_of(policy, objects))
        return [each for each in read_ones if each is not None]

    def _raw_versions_of(self, policy: RetrainingPolicy, objects: Iterable[Object]) -> list[Object]:
        namespace, model = policy.metadata.namespace, policy.spec.model_name
        return [
            obj
            for obj in objects
            if obj["metadata"].get("namespace") == namespace
            and obj["spec"].get("modelName") == model
            and not is_deleted(obj)
        ]

    def _production(self, policy: RetrainingPolicy, objects: Iterable[Object]) -> Production | None:
        """The version in Production, where its claim is stored and all that claim it can be read."""
        if policy.spec.rollback is None:
            return None
        raw = self._raw_versions_of(policy, objects)
        if any(_is_about_production(obj) and read(ModelVersion, obj) is None for obj in raw):
            return None
        model, versions = policy.spec.model_name, self._versions_of(policy, raw)
        try:
            found = rollback_of(model, versions)
            current, previous = found.current, found.previous.spec.version
        except NoRollbackError:
            holder = holder_of(versions)
            if holder is None:
                return None
            current, previous = holder, None
        since, source = current.status.production_claimed_at, current.spec.source
        if since is None:
            return None
        return Production(
            number=current.spec.version,
            since=datetime.fromisoformat(since),
            promoted=source is not None and source.retraining_policy == policy.metadata.name,
            previous=previous,
            names={each.spec.version: each.metadata.name for each in versions},
        )

    async def _roll_back(self, action: RollBack, policy: RetrainingPolicy) -> None:
        context, namespace = self._context, policy.metadata.namespace
        # As they were when it was decided.
        found = [context.versions.get((namespace, name)) for name in (action.previous, action.current)]
        # The older one claims first: a moment with two claims is settled, one with none would serve nothing.
        for obj, stage in zip(found, ("Production", "Archived"), strict=True):
            if obj is None:
                raise Retry
            await patch_guarded(
                context.client, MODEL_VERSIONS, context.versions, obj, {"spec": {"stage": stage}}
            )
        logger.info("rolled %s back to %s", action.current, action.previous)

    def forget(self, obj: Object) -> None:
        """A policy is deleted: nothing is asked for it any more."""
        if self._context.checks is not None:
            self._context.checks.follow(key_of(obj), None)

    def _children(self, policy: RetrainingPolicy) -> tuple[Child, ...]:
        metadata = policy.metadata
        return tuple(
            child_of(job, self._version_of(job))
            for job in self._context.jobs
            if job["metadata"].get("namespace") == metadata.namespace and is_owned(job, metadata.uid)
        )

    def _version_of(self, job: Object) -> Object | None:
        name = version_name(job)
        return self._context.versions.get((job["metadata"].get("namespace", ""), name)) if name else None

    async def _create(
        self, action: CreateTrainingJob, policy: RetrainingPolicy, observed: Observed
    ) -> Observed:
        context, namespace = self._context, policy.metadata.namespace
        manifest = build_training_job(policy, action.request)
        try:
            found = await context.client.create(
                TRAINING_JOBS, manifest, namespace, field_manager=FIELD_MANAGER
            )
            logger.info("created TrainingJob %s: %s", manifest["metadata"]["name"], action.request.message)
        except ApiError as error:
            if error.status not in CLIENT_ERRORS:
                raise
            if error.status != CONFLICT:
                refusal = Refusal(action.request.key, str(error), final=error.status in FINAL)
                return replace(observed, refusals=(*observed.refusals, refusal))
            existing = await context.client.find(TRAINING_JOBS, manifest["metadata"]["name"], namespace)
            if existing is None or not is_owned(existing, policy.metadata.uid):
                refusal = _name_taken(manifest, action, existing)
                return replace(observed, refusals=(*observed.refusals, refusal))
            found = existing
        context.jobs.observe(found)
        others = tuple(child for child in observed.children if child.name != found["metadata"]["name"])
        return replace(observed, children=(*others, child_of(found)))

    async def _delete(
        self, action: DeleteTrainingJob, policy: RetrainingPolicy, observed: Observed
    ) -> Observed:
        try:
            await self._context.client.delete(
                TRAINING_JOBS, action.name, policy.metadata.namespace, uid=action.uid
            )
        except ApiError as error:
            # Another object has the name by now: the one that was meant is gone.
            if error.status != CONFLICT:
                raise
        children = (
            replace(child, deleting=True) if child.uid == action.uid else child for child in observed.children
        )
        return replace(observed, children=tuple(children))


def _is_about_production(version: Object) -> bool:
    """Whether a version asks for Production, or is there."""
    phase = (version.get("status") or {}).get("phase")
    return "Production" in (version["spec"].get("stage"), phase)


def _is_looked_at(version: ModelVersion) -> bool:
    """Whether the status tells of what the spec asks for now."""
    return version.status.observed_generation == version.metadata.generation


def policy_of(job: Object) -> Key | None:
    """Namespace and name of the policy that created a TrainingJob, where one did."""
    metadata = job["metadata"]
    name = (metadata.get("labels") or {}).get(RETRAINING_POLICY_LABEL)
    return (metadata.get("namespace", ""), name) if name else None


def _name_taken(manifest: Object, action: CreateTrainingJob, existing: Object | None) -> Refusal:
    name = manifest["metadata"]["name"]
    going = existing is None or "deletionTimestamp" in existing["metadata"]
    message = (
        f"waits until the older TrainingJob {name} is deleted"
        if going
        else f"a TrainingJob {name} exists that is not of this policy; delete it or ask anew"
    )
    return Refusal(action.request.key, message, foreign=True, final=not going)
