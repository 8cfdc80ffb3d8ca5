"""Carries out the plans of TrainingJobs."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import ValidationError

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.resource import JOBS, MODEL_VERSIONS, TRAINING_JOBS
from mlinfra.resources import ModelVersion, TrainingJob
from mlinfra.resources.base import ObjectMeta
from mlinfra.resources.names import FIELD_MANAGER
from mlinfra.resources.training_job_status import TrainingJobStatus
from mlinfra.tracking.contract import (
    CLUSTER_UID_TAG,
    MANAGED_TAG,
    RETRAINING_POLICY_TAG,
    TRAINING_JOB_TAG,
    TRAINING_JOB_UID_TAG,
    TRIGGER_TAG,
)
from mlinfra.tracking.errors import TrackingRefusedError, TrackingUnavailableError
from mlinfra_operator.runtime import mlflow_calls
from mlinfra_operator.runtime.cache import Key, Object, ObjectCache
from mlinfra_operator.runtime.child_jobs import ChildJobs
from mlinfra_operator.runtime.events import EventPoster
from mlinfra_operator.runtime.invalid import tell_invalid
from mlinfra_operator.runtime.mlflow_registry import Mlflow
from mlinfra_operator.runtime.pod_lists import PodLists
from mlinfra_operator.runtime.run_watch import RunWatch
from mlinfra_operator.runtime.status import StatusWriter
from mlinfra_operator.runtime.work_queue import Retry
from mlinfra_operator.tracking import END_OF_PHASE, Finish, ModelOwner
from mlinfra_operator.trainingjob.actions import (
    Action,
    CreateChild,
    CreateModelVersion,
    DeleteChild,
    DeleteTrainingJob,
    EnsureRun,
    FindOwner,
    ListPods,
    Plan,
    ReadModels,
    ReadRun,
    RegisterVersion,
    RestorePeerService,
)
from mlinfra_operator.trainingjob.companions import Companions
from mlinfra_operator.trainingjob.end import after_the_end, ended, is_terminal
from mlinfra_operator.trainingjob.first_status import FirstStatuses
from mlinfra_operator.trainingjob.job_builder import PodDefaults, build_job
from mlinfra_operator.trainingjob.model_version_builder import build_model_version
from mlinfra_operator.trainingjob.observed import Observed, Refusal, child_job
from mlinfra_operator.trainingjob.origin import lineage_of, origin_of
from mlinfra_operator.trainingjob.plan import is_mine, plan
from mlinfra_operator.trainingjob.waiting import is_waiting

MAX_ROUNDS = 16
"""More than the longest way through the plan."""
CONFLICT = 409
CLIENT_ERRORS = range(400, 500)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """What the controller of TrainingJobs works with.

    Attributes:
        finish: called with a run that has to end.
        phase_changed: called with a TrainingJob as it was, and its status of a new phase once stored.
    """

    client: KubernetesClient
    mlflow: Mlflow
    jobs: ObjectCache
    versions: ObjectCache
    children: ChildJobs
    companions: Companions
    pods: PodLists
    runs: RunWatch
    status: StatusWriter
    events: EventPoster
    defaults: PodDefaults
    finish: Callable[[Finish], None]
    phase_changed: Callable[[Object, TrainingJobStatus], None]
    cluster_uid: str | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class TrainingJobController:
    """Reconciles one TrainingJob at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._unready_since: dict[str, datetime] = {}
        self._first = FirstStatuses(context.clock)

    @property
    def many_await_pods(self) -> bool:
        """Whether the cluster is at work on the pods of many new TrainingJobs."""
        return self._first.many_await_pods

    async def reconcile(self, key: Key) -> float | None:
        """Bring a TrainingJob on; seconds after which to look again.

        Raises:
            Retry: to be tried again with a growing delay.
        """
        obj = self._context.jobs.get(key)
        if obj is None:
            return None
        uid, generation = obj["metadata"]["uid"], obj["metadata"]["generation"]
        if "deletionTimestamp" in obj["metadata"]:
            self._first.leave_out(uid)
            return None
        if (left := self._first.wait(uid, generation, self._context.children.get(key))) > 0:
            return left
        try:
            job = TrainingJob.model_validate(obj)
        except ValidationError as error:
            if (past := ended(obj)) is not None:
                return await self._outlive(obj, past)
            self._first.leave_out(uid)
            context = self._context
            await tell_invalid(context.status, context.events, obj, error, context.clock())
            return None
        if is_terminal(job):
            return await self._outlive(obj, job)
        before = self._observe(job)
        observed, decided = await self._act(job, before)
        made = before.child is None and observed.child is not None and is_mine(job, observed.child)
        if made and not obj.get("status"):
            self._follow(key, job, observed, decided)
            return self._tell_later(key, job, observed)
        await self._tell(obj, observed, decided)
        self._follow(key, job, observed, decided)
        if decided.retry:
            raise Retry
        return decided.requeue_after

    def forget(self, obj: Object) -> None:
        """A TrainingJob is deleted: its run ends."""
        uid, status = obj["metadata"]["uid"], obj.get("status") or {}
        self._unready_since.pop(uid, None)
        untold = self._first.pop(uid)
        run_id = (status.get("mlflow") or {}).get("runID")
        if run_id is None and untold is not None and untold.run is not None:
            run_id = untold.run.run_id
        if run_id:
            self._context.runs.leave(run_id)
            self._context.finish(Finish(run_id, END_OF_PHASE.get(str(status.get("phase")), "KILLED")))

    async def _outlive(self, obj: Object, job: TrainingJob) -> float | None:
        """Nothing follows an end but, in time, the deletion."""
        decided = after_the_end(job, self._context.clock())
        for action in decided.actions:
            await self._perform(action, job, Observed())
        if not decided.actions and decided.status != job.status:
            await self._context.status.write(obj, decided.status.to_wire())
        return decided.requeue_after

    async def _act(self, job: TrainingJob, observed: Observed) -> tuple[Observed, Plan]:
        context = self._context
        for _ in range(MAX_ROUNDS):
            run = observed.run
            url = context.mlflow.run_url(run.experiment_id, run.run_id) if run else None
            decided = plan(job, observed, context.clock(), run_url=url)
            if not decided.actions:
                return observed, decided
            try:
                for action in decided.actions:
                    observed = await self._perform(action, job, observed)
            except TrackingUnavailableError as error:
                observed = replace(observed, unavailable=str(error))
            except TrackingRefusedError as error:
                observed = replace(observed, refused=str(error))
        raise RuntimeError(f"TrainingJob {job.metadata.name}: no end after {MAX_ROUNDS} plans")

    def _observe(self, job: TrainingJob) -> Observed:
        context, metadata = self._context, job.metadata
        child = context.children.get((metadata.namespace, metadata.name))
        run_id = child.run_id if child is not None and is_mine(job, child) else None
        if run_id is None and job.status.mlflow is not None:
            run_id = job.status.mlflow.run_id
        if child is not None and is_waiting(child):
            since = self._unready_since.setdefault(metadata.uid, context.clock())
        else:
            since = None
            self._unready_since.pop(metadata.uid, None)
        untold = self._first.get(metadata.uid)
        run = context.runs.get(run_id) if run_id else None
        return Observed(
            child=child,
            run=run or (untold.run if untold is not None else None),
            started_at=untold.started if untold is not None else None,
            unready_since=since,
            gang_offered=context.defaults.gang_scheduling,
            lacks_service=context.companions.lacks_service(job),
        )

    async def _perform(self, action: Action, job: TrainingJob, observed: Observed) -> Observed:
        match action:
            case DeleteChild():
                return await self._delete_child(action, job, observed)
            case DeleteTrainingJob():
                await self._delete_training_job(job.metadata)
                return observed
            case CreateChild():
                return await self._create_child(action, job, observed)
            case RestorePeerService():
                return await self._restore_peer_service(job, observed)
            case ListPods():
                pods = await self._context.pods.of(job.metadata.namespace, job.metadata.uid)
                return replace(observed, pods=pods)
            case CreateModelVersion():
                return await self._create_model_version(action, job, observed)
            case _:
                return await self._ask_mlflow(action, job, observed)

    async def _ask_mlflow(
        self,
        action: FindOwner | EnsureRun | ReadRun | ReadModels | RegisterVersion,
        job: TrainingJob,
        observed: Observed,
    ) -> Observed:
        call, spec, metadata = self._context.mlflow.call, job.spec, job.metadata
        match action:
            case FindOwner():
                owner = await call(mlflow_calls.model_owner, spec.model_name)
                return replace(observed, model_owner=owner)
            case EnsureRun():
                run = await call(
                    mlflow_calls.ensure_run,
                    experiment=spec.model_name,
                    name=metadata.name,
                    uid=metadata.uid,
                    tags=self._run_tags(job),
                )
                return replace(observed, run=run)
            case ReadRun():
                return replace(observed, run=await call(mlflow_calls.read_run, action.run_id))
            case ReadModels():
                if observed.run is None:
                    raise ValueError("the run is read before its models")
                return replace(observed, models=await call(mlflow_calls.logged_models, observed.run))
            case RegisterVersion():
                lineage = lineage_of(job, observed.run, observed.pods)
                registered = await call(
                    mlflow_calls.register_version,
                    name=spec.model_name,
                    namespace=metadata.namespace,
                    model_id=action.model_id,
                    run_id=action.run_id,
                    uid=metadata.uid,
                    image_digest=lineage.image_digest if lineage else None,
                )
                if isinstance(registered, ModelOwner):
                    return replace(observed, registered_elsewhere=registered.namespace or "unknown")
                return replace(observed, version=registered)

    async def _create_child(self, action: CreateChild, job: TrainingJob, observed: Observed) -> Observed:
        context, namespace = self._context, job.metadata.namespace
        manifest = build_job(job, run_id=action.run_id, defaults=context.defaults)
        try:
            await context.companions.ensure(job)
            created = await context.client.create(JOBS, manifest, namespace, field_manager=FIELD_MANAGER)
        except ApiError as error:
            if error.status == CONFLICT:
                existing = await context.client.find(JOBS, job.metadata.name, namespace)
                if existing is None:
                    # Gone between the two requests.
                    return observed
                if is_mine(job, child_job(existing)):
                    context.children.created(existing)
                return replace(observed, child=child_job(existing))
            if error.status in CLIENT_ERRORS:
                return replace(observed, refusal=Refusal(error.status, error.reason, str(error)))
            raise
        context.children.created(created)
        return replace(observed, child=child_job(created))

    async def _restore_peer_service(self, job: TrainingJob, observed: Observed) -> Observed:
        try:
            await self._context.companions.ensure_service(job)
        except ApiError as error:
            if error.status not in CLIENT_ERRORS:
                raise
            return replace(observed, refusal=Refusal(error.status, error.reason, str(error)))
        logger.info("Service of TrainingJob %s made again", job.metadata.name)
        return replace(observed, lacks_service=False)

    async def _delete_child(self, action: DeleteChild, job: TrainingJob, observed: Observed) -> Observed:
        client, name, namespace = self._context.client, job.metadata.name, job.metadata.namespace
        # The Job stays until its pods have ended: two attempts must not write to one run.
        try:
            await client.delete(JOBS, name, namespace, uid=action.uid, propagation="Foreground")
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            # Another Job has the name by now, of which the watch will tell.
            raise Retry from error
        if observed.child is None:
            raise ValueError("a child is observed before it is deleted")
        return replace(observed, child=replace(observed.child, deleting=True))

    async def _delete_training_job(self, metadata: ObjectMeta) -> None:
        name, namespace, version = metadata.name, metadata.namespace, metadata.resource_version
        try:
            # Its time to live may have been taken away, and the watch not have told of it.
            await self._context.client.delete(
                TRAINING_JOBS, name, namespace, uid=metadata.uid, resource_version=version
            )
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            raise Retry from error
        logger.info("TrainingJob %s/%s deleted: its time to live is over", namespace, name)

    async def _create_model_version(
        self, action: CreateModelVersion, job: TrainingJob, observed: Observed
    ) -> Observed:
        context, namespace = self._context, job.metadata.namespace
        lineage = lineage_of(job, observed.run, observed.pods)
        manifest = build_model_version(job, version=action.version, run_id=action.run_id, lineage=lineage)
        try:
            found = await context.client.create(
                MODEL_VERSIONS, manifest, namespace, field_manager=FIELD_MANAGER
            )
        except ApiError as error:
            if error.status not in CLIENT_ERRORS:
                raise
            if error.status != CONFLICT:
                return replace(observed, refusal=Refusal(error.status, error.reason, str(error)))
            found = await context.client.get(MODEL_VERSIONS, manifest["metadata"]["name"], namespace)
        context.versions.observe(found)
        return replace(observed, created_model_version=ModelVersion.model_validate(found))

    def _run_tags(self, job: TrainingJob) -> dict[str, str]:
        metadata = job.metadata
        tags = {
            MANAGED_TAG: "true",
            TRAINING_JOB_UID_TAG: metadata.uid,
            TRAINING_JOB_TAG: f"{metadata.namespace}/{metadata.name}",
        }
        policy, trigger = origin_of(metadata)
        if policy is not None:
            tags[RETRAINING_POLICY_TAG] = f"{metadata.namespace}/{policy}"
        if trigger is not None:
            tags[TRIGGER_TAG] = trigger
        if self._context.cluster_uid is not None:
            tags[CLUSTER_UID_TAG] = self._context.cluster_uid
        return tags

    def _tell_later(self, key: Key, job: TrainingJob, observed: Observed) -> float:
        """Seconds until the first status of a TrainingJob whose Job has just been made is due."""
        metadata = job.metadata
        if self._is_gone(key, metadata.uid):
            # Deleted meanwhile: its status never told of the run.
            if observed.run is not None:
                self._context.finish(Finish(observed.run.run_id, "KILLED"))
            return 0.0
        return self._first.put_off(metadata.uid, metadata.generation, observed.run)

    def _is_gone(self, key: Key, uid: str) -> bool:
        latest = self._context.jobs.get(key)
        return latest is None or latest["metadata"]["uid"] != uid

    async def _tell(self, obj: Object, observed: Observed, decided: Plan) -> None:
        context = self._context
        if not await context.status.write(obj, decided.status.to_wire()):
            if observed.run is not None:
                # Deleted meanwhile: its status never told of the run.
                context.finish(Finish(observed.run.run_id, "KILLED"))
            return
        self._first.pop(obj["metadata"]["uid"])
        if decided.status.phase != (obj.get("status") or {}).get("phase"):
            context.phase_changed(obj, decided.status)
        if decided.finish is not None:
            context.finish(decided.finish)
        for event in decided.events:
            context.events.post(obj, event)

    def _follow(self, key: Key, job: TrainingJob, observed: Observed, decided: Plan) -> None:
        run = observed.run
        if run is None:
            return
        ended = decided.status.phase in ("Succeeded", "Failed")
        child = observed.child
        gone = self._is_gone(key, job.metadata.uid)
        if gone or ended or child is None or child.held or not is_mine(job, child):
            self._context.runs.leave(run.run_id)
        else:
            self._context.runs.follow(key, run)
        if ended:
            self._unready_since.pop(job.metadata.uid, None)
