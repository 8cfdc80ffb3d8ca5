"""Carries out the plans of RetrainingPolicies."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import ValidationError

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.resource import TRAINING_JOBS
from mlinfra.resources import RetrainingPolicy
from mlinfra.resources.names import FIELD_MANAGER, RETRAINING_POLICY_LABEL
from mlinfra_operator.retrainingpolicy.builder import build_training_job
from mlinfra_operator.retrainingpolicy.observed import Child, Observed, Refusal, child_of, is_owned
from mlinfra_operator.retrainingpolicy.plan import CreateTrainingJob, DeleteTrainingJob, Plan, plan
from mlinfra_operator.runtime.cache import Key, Object, ObjectCache
from mlinfra_operator.runtime.events import EventPoster
from mlinfra_operator.runtime.invalid import tell_invalid
from mlinfra_operator.runtime.status import StatusWriter
from mlinfra_operator.runtime.work_queue import Retry

MAX_ROUNDS = 16
"""More than a policy may have to start and to delete at once, since a plan deletes all that is surplus."""
CONFLICT = 409
FINAL = (400, 403, 422)
"""Answers that the same request would have again; a later request may fare better."""
CLIENT_ERRORS = range(400, 500)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """What the controller of RetrainingPolicies works with."""

    client: KubernetesClient
    policies: ObjectCache
    jobs: ObjectCache
    status: StatusWriter
    events: EventPoster
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
            await tell_invalid(self._context.events, obj, error)
            return None
        decided = await self._act(obj, policy)
        if not await self._context.status.write(obj, decided.status.to_wire()):
            return None
        for event in decided.events:
            await self._context.events.post(obj, event)
        if decided.retry:
            raise Retry
        return decided.requeue_after

    async def _act(self, obj: Object, policy: RetrainingPolicy) -> Plan:
        created = datetime.fromisoformat(obj["metadata"]["creationTimestamp"])
        observed = Observed(children=self._children(policy))
        for _ in range(MAX_ROUNDS):
            decided = plan(policy, observed, self._context.clock(), created=created)
            if not decided.actions:
                return decided
            for action in decided.actions:
                match action:
                    case DeleteTrainingJob():
                        observed = await self._delete(action, policy, observed)
                    case CreateTrainingJob():
                        observed = await self._create(action, policy, observed)
        raise RuntimeError(f"RetrainingPolicy {policy.metadata.name}: no end after {MAX_ROUNDS} plans")

    def _children(self, policy: RetrainingPolicy) -> tuple[Child, ...]:
        metadata = policy.metadata
        return tuple(
            child_of(job)
            for job in self._context.jobs
            if job["metadata"].get("namespace") == metadata.namespace and is_owned(job, metadata.uid)
        )

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
                return replace(observed, refusal=refusal)
            existing = await context.client.find(TRAINING_JOBS, manifest["metadata"]["name"], namespace)
            if existing is None or not is_owned(existing, policy.metadata.uid):
                return replace(observed, refusal=_name_taken(manifest, action, existing))
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
