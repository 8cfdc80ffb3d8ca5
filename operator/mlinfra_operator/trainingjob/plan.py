"""What to do next about a TrainingJob, and what its status says. Pure: no clock, no input, no output.

The plan is made anew after each action, from what is known by then. Nothing is kept between plans but
what the cluster and MLflow hold, so a restarted operator goes on where another one stopped.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from mlinfra.resources import TrainingJob
from mlinfra.resources.training_job_status import (
    MlflowRun,
    ModelVersionReference,
    Phase,
    TrainerStatus,
    TrainingJobStatus,
)
from mlinfra_operator import conditions
from mlinfra_operator.conditions import Event, Observation
from mlinfra_operator.naming import model_version_name
from mlinfra_operator.tracking import FinalStatus, Finish
from mlinfra_operator.trainingjob.actions import (
    Action,
    CreateChild,
    CreateModelVersion,
    DeleteChild,
    EnsureRun,
    FindOwner,
    ListPods,
    Plan,
    ReadModels,
    ReadRun,
    RegisterVersion,
    RestorePeerService,
)
from mlinfra_operator.trainingjob.attempts import PEER_TERMINATING, TRAINING_REASONS, attempts_of
from mlinfra_operator.trainingjob.end import (
    LONGEST_SLEEP_SECONDS,
    TERMINAL_PHASES,
    after_the_end,
    is_terminal,
)
from mlinfra_operator.trainingjob.failure import Failure, failure_of
from mlinfra_operator.trainingjob.gang import gang_condition, gang_events
from mlinfra_operator.trainingjob.gpus import gpus_of
from mlinfra_operator.trainingjob.held import Hold, hold_of, queue_events
from mlinfra_operator.trainingjob.observed import ChildJob, Observed, Refusal
from mlinfra_operator.trainingjob.origin import lineage_of
from mlinfra_operator.trainingjob.progress import attempt_of, final_status, trainer_status
from mlinfra_operator.trainingjob.result import NoResult, result_model
from mlinfra_operator.trainingjob.stamp import is_outdated
from mlinfra_operator.trainingjob.waiting import POD_STARTING, HoldUp, hold_up_of, overdue_of

SPEC_CHANGED = "SpecChanged"
POD_PATIENCE_SECONDS = 10.0
"""So long a Job may have no ready pod before its pods are asked why; then after twice the time, and so on."""
LONGEST_PATIENCE_SECONDS = 160.0
OLD_JOB_POLL_SECONDS = 5.0
RUN_POLL_SECONDS = 5.0
"""How often a run that could not be read is asked for."""
REFUSED_FOR_GOOD = (400, 422)
"""Answers of the API server that no retry changes."""


def plan(job: TrainingJob, observed: Observed, now: datetime, *, run_url: str | None = None) -> Plan:
    """The next step of a TrainingJob.

    Args:
        job: the TrainingJob with its latest status.
        observed: what is known now.
        now: the time of the observation.
        run_url: page of the run in MLflow.
    """
    if is_terminal(job):
        return after_the_end(job, now)
    decided = _Planner(job, observed, now, run_url).plan()
    ttl = job.spec.ttl_seconds_after_finished
    if ttl is not None and not decided.actions and decided.status.phase in TERMINAL_PHASES:
        return replace(decided, requeue_after=min(ttl, LONGEST_SLEEP_SECONDS))
    return decided


def is_mine(job: TrainingJob, child: ChildJob) -> bool:
    """Whether a Job belongs to this very TrainingJob."""
    return child.owner_uid == job.metadata.uid


@dataclass(frozen=True, slots=True)
class _Planner:
    job: TrainingJob
    observed: Observed
    now: datetime
    run_url: str | None

    def plan(self) -> Plan:
        child = self.observed.child
        if child is None or not is_mine(self.job, child):
            return self._without_child(child)
        if child.run_id is not None and self._run_is_unknown():
            return self._next(ReadRun(child.run_id))
        if child.failure is not None:
            return self._failed(child)
        if child.complete:
            return self._complete(child)
        if self.job.spec.suspend:
            return self._suspend(child)
        if is_outdated(self.job, child.stamp):
            return self._replace(child)
        if child.held and not child.deleting:
            hold = hold_of(self.job, child)
            return self._go_on("Queued", hold.reason, hold.message, hold=hold)
        return self._active(child)

    def _run_is_unknown(self) -> bool:
        """A first status that tells of an end would be the last that could tell of the run."""
        observed = self.observed
        asked = observed.unavailable is not None or observed.refused is not None
        return observed.run is None and self.job.status.mlflow is None and not asked

    def _suspend(self, child: ChildJob) -> Plan:
        if not child.deleting:
            return self._next(DeleteChild(child.uid))
        return self._ending(child, "Suspending", "the pods write a checkpoint and end")

    def _replace(self, child: ChildJob) -> Plan:
        if not child.deleting:
            return self._next(DeleteChild(child.uid))
        return self._ending(
            child, SPEC_CHANGED, "the spec was changed while suspended: the pods end, and a new Job goes on"
        )

    def _without_child(self, other: ChildJob | None) -> Plan:
        if self.job.spec.suspend:
            return self._suspended()
        if other is not None:
            return self._blocked_by(other)
        if self.observed.refusal is not None:
            return self._refused(self.observed.refusal, what="Job", phase="Pending")
        if self.observed.unavailable is not None:
            return self._unavailable("Pending", "the run is created")
        if self.observed.refused is not None:
            return self._fail(Failure("MLflowRefused", self.observed.refused))
        if self.observed.model_owner is None:
            return self._next(FindOwner())
        owner = self.observed.model_owner.namespace
        if owner is not None and owner != self.job.metadata.namespace:
            return self._owned_by_other(owner)
        if self.observed.run is None:
            return self._next(EnsureRun())
        return self._next(CreateChild(self.observed.run.run_id))

    def _suspended(self) -> Plan:
        message = "spec.suspend is true: no pods run"
        status = self._status(
            "Suspended",
            (
                *conditions.ready("Suspended", message),
                Observation("Suspended", "True", "Suspended", message),
            ),
        )
        told = self.job.status.phase == "Suspended"
        return Plan(status, events=() if told else (Event("Normal", "Suspended", message),))

    def _blocked_by(self, other: ChildJob) -> Plan:
        name = self.job.metadata.name
        if other.training_job == name and other.owner_uid is not None:
            message = f"waiting until Job {name} of the deleted TrainingJob of this name is gone"
            return self._go_on("Pending", "WaitingForOldJob", message, requeue_after=OLD_JOB_POLL_SECONDS)
        return self._fail(
            Failure(
                "ChildNameConflict",
                f"a Job named {name} exists that is not of this TrainingJob; delete that Job "
                "or give the TrainingJob another name, then apply it again",
            )
        )

    def _refused(self, refusal: Refusal, *, what: str, phase: Phase) -> Plan:
        if refusal.status in REFUSED_FOR_GOOD:
            return self._fail(Failure(f"{what}Rejected", refusal.message))
        return self._not_created(refusal, what=what, phase=phase)

    def _not_created(self, refusal: Refusal, *, what: str, phase: Phase) -> Plan:
        message = f"the API server does not create the {what}: {refusal.message}; tried again"
        return self._go_on(phase, f"{what}NotCreated", message, retry=True)

    def _active(self, child: ChildJob) -> Plan:
        if child.deleting:
            return self._ending(child, "JobIsDeleted", f"Job {self.job.metadata.name} is being deleted")
        if self.observed.lacks_service:
            return self._without_service(child)
        run_id, asked = self._run_id(), self.observed.unavailable or self.observed.refused
        if self.observed.run is None and run_id is not None and asked is None:
            return self._next(ReadRun(run_id))
        phase = self._phase(child)
        if child.ready == 0:
            return self._waiting(phase, child)
        if child.terminating > 0:
            return self._without_peer(phase)
        if self.observed.run is None:
            # The training goes on whether or not its progress can be read.
            return self._go_on(phase, "ProgressUnknown", asked or "", requeue_after=RUN_POLL_SECONDS)
        return self._go_on(phase, "Training")

    def _without_service(self, child: ChildJob) -> Plan:
        """Pods that run go on as they are; those that start or are replaced find no peer."""
        if self.observed.refusal is None:
            return self._next(RestorePeerService())
        return self._not_created(self.observed.refusal, what="Service", phase=self._phase(child))

    def _without_peer(self, phase: Phase) -> Plan:
        """Some pods run, and wait for others whose place is not free."""
        if self._patience() > 0:
            return self._go_on(phase, "Training", requeue_after=self._patience())
        if self.observed.pods is None:
            return self._next(ListPods())
        overdue = overdue_of(self.observed.pods, self.now)
        if overdue is None:
            return self._go_on(phase, "Training", requeue_after=self._look_again())
        return self._go_on(phase, PEER_TERMINATING, overdue.message, requeue_after=self._look_again())

    def _ending(self, child: ChildJob, reason: str, message: str) -> Plan:
        """The Job is being deleted, and stays until its pods have ended."""
        phase = self._phase(child)
        if self._patience() > 0:
            return self._go_on(phase, reason, message, requeue_after=self._patience())
        if self.observed.pods is None:
            return self._next(ListPods())
        hold_up = overdue_of(self.observed.pods, self.now) or HoldUp(reason, message)
        return self._go_on(phase, hold_up.reason, hold_up.message, requeue_after=self._look_again())

    def _waited(self) -> float:
        return (self.now - (self.observed.unready_since or self.now)).total_seconds()

    def _patience(self) -> float:
        """Seconds until the pods are asked why."""
        return POD_PATIENCE_SECONDS - self._waited()

    def _look_again(self) -> float:
        """The longer it waits, the rarer it is asked: thousands may wait for room."""
        return min(self._waited(), LONGEST_PATIENCE_SECONDS)

    def _waiting(self, phase: Phase, child: ChildJob) -> Plan:
        if self._patience() > 0:
            told = self._still_told(phase, child) or HoldUp(POD_STARTING, "the training pod starts")
            return self._go_on(phase, told.reason, told.message, requeue_after=self._patience())
        if self.observed.pods is None and child.active + child.terminating > 0:
            return self._next(ListPods())
        hold_up = hold_up_of(
            self.job,
            child,
            self.observed.pods or (),
            now=self.now,
            waited=self._waited(),
            ran=phase == "Running",
        )
        return self._go_on(phase, hold_up.reason, hold_up.message, requeue_after=self._look_again())

    def _still_told(self, phase: Phase, child: ChildJob) -> HoldUp | None:
        """What the status says and may go on to say until the pods are asked: an operator that started again
        has yet to learn what holds them up, and of a training without pods its Job soon tells the end."""
        old = self.job.status
        found = conditions.find(old.conditions, "Reconciling")
        same = old.phase == phase and old.job_name is not None
        if found is None or not same or found.observed_generation != self.job.metadata.generation:
            return None
        ran_until_now, has_pods = found.reason in TRAINING_REASONS, child.active + child.terminating > 0
        return None if ran_until_now and has_pods else HoldUp(found.reason, found.message)

    def _phase(self, child: ChildJob) -> Phase:
        if self.job.status.phase == "Running":
            return "Running"
        # After a suspension or an eviction what failed, and the run's attempts, tell of the time before.
        ran_before = self.job.status.phase == "Suspended" or (self.job.status.attempts or 0) > 0
        if ran_before:
            started = child.ready + child.succeeded
        else:
            started = child.started + attempt_of(self.observed.run)
        return "Running" if started > 0 else "Pending"

    def _complete(self, child: ChildJob) -> Plan:
        observed = self.observed
        run_id = self._run_id()
        if run_id is None:
            return self._fail(Failure("NoRun", "the child Job names no MLflow run: MLFLOW_RUN_ID is absent"))
        if observed.unavailable is not None:
            return self._unavailable("Registering", "the model is registered")
        if observed.refused is not None:
            return self._fail(Failure("MLflowRefused", observed.refused))
        if observed.models is None:
            return self._next(ReadRun(run_id), ReadModels(run_id), ListPods())
        if observed.registered_elsewhere is not None:
            return self._owned_by_other(observed.registered_elsewhere)
        if observed.version is None:
            result = result_model(observed.models)
            if isinstance(result, NoResult):
                return self._fail(Failure(result.reason, result.message))
            return self._next(RegisterVersion(run_id, result.model_id))
        if observed.refusal is not None:
            return self._refused(observed.refusal, what="ModelVersion", phase="Registering")
        if observed.created_model_version is None:
            return self._next(CreateModelVersion(observed.version, run_id))
        return self._registered(observed.version, run_id)

    def _registered(self, version: str, run_id: str) -> Plan:
        name = model_version_name(self.job.spec.model_name, version)
        existing = self.observed.created_model_version
        source = existing.spec.source if existing else None
        if source is None or source.run_id != run_id:
            return self._fail(
                Failure(
                    "ChildNameConflict",
                    f"a ModelVersion named {name} exists that is not of run {run_id}; "
                    f"the model is registered in MLflow as version {version} of {self.job.spec.model_name}",
                )
            )
        message = f"registered as version {version} of {self.job.spec.model_name}: ModelVersion {name}"
        status = self._status(
            "Succeeded",
            (
                *conditions.ready("Registered", message),
                Observation("Complete", "True", "Registered", message),
            ),
        )
        status = status.model_copy(
            update={
                "completion_time": conditions.timestamp(self.now),
                "model_version_ref": ModelVersionReference(name=name),
            }
        )
        events = (Event("Normal", "Registered", message),)
        run = self.observed.run
        finish = Finish(run_id, "FINISHED") if run is None or run.status == "RUNNING" else None
        return Plan(status, events=events, finish=finish)

    def _failed(self, child: ChildJob) -> Plan:
        if self.observed.pods is None:
            return self._next(ListPods())
        return self._fail(failure_of(child, self.observed.pods))

    def _owned_by_other(self, namespace: str) -> Plan:
        return self._fail(
            Failure(
                "OwnedByOtherNamespace",
                f"the registered model {self.job.spec.model_name} belongs to namespace {namespace}; "
                "choose another spec.modelName or train there",
            )
        )

    def _unavailable(self, phase: Phase, what: str) -> Plan:
        message = f"{self.observed.unavailable} Tried again until {what}."
        return self._go_on(phase, "MLflowUnavailable", message, retry=True)

    def _next(self, *actions: Action) -> Plan:
        return Plan(self.job.status, actions=actions)

    def _go_on(
        self,
        phase: Phase,
        reason: str,
        message: str = "",
        *,
        retry: bool = False,
        requeue_after: float | None = None,
        hold: Hold | None = None,
    ) -> Plan:
        status = self._status(phase, conditions.reconciling(reason, message))
        events = self._progress_events(phase, reason, message)
        events += queue_events(self.job, self.observed.child, hold)
        events += gang_events(self.job, offered=self.observed.gang_offered)
        return Plan(status, events=events, retry=retry, requeue_after=requeue_after)

    def _progress_events(self, phase: Phase, reason: str, message: str) -> tuple[Event, ...]:
        old = self.job.status
        known = conditions.reason_of(old.conditions, "Reconciling")
        events = []
        if old.phase == "Suspended" and not self.job.spec.suspend:
            events.append(Event("Normal", "Resumed", "spec.suspend is false: the training goes on"))
        if (
            old.job_name is None
            and self.observed.child is not None
            and is_mine(self.job, self.observed.child)
        ):
            events.append(Event("Normal", "JobCreated", f"created Job {self.job.metadata.name}"))
        if phase == "Running" and old.phase != "Running":
            events.append(Event("Normal", "Started", "the training runs"))
        ordinary = phase == "Queued" or reason in (POD_STARTING, "Training", SPEC_CHANGED)
        if message and reason != known and not ordinary:
            events.append(Event("Warning", reason, message))
        return tuple(events)

    def _fail(self, failure: Failure) -> Plan:
        status = self._status(
            "Failed",
            (
                *conditions.stalled(failure.reason, failure.message),
                Observation("Failed", "True", failure.reason, failure.message),
            ),
        )
        status = status.model_copy(update={"completion_time": conditions.timestamp(self.now)})
        run_id = self._run_id()
        end: FinalStatus = "FAILED"
        return Plan(
            status,
            events=(Event("Warning", failure.reason, failure.message),),
            finish=Finish(run_id, end) if run_id else None,
        )

    def _status(self, phase: Phase, observations: tuple[Observation, ...]) -> TrainingJobStatus:
        old, generation = self.job.status, self.job.metadata.generation
        observations += gang_condition(self.job, offered=self.observed.gang_offered)
        if phase != "Suspended" and conditions.find(old.conditions, "Suspended") is not None:
            # Who waits for its end waits for False.
            observations += (Observation("Suspended", "False", "Resumed"),)
        child = self.observed.child
        mine = child if child is not None and is_mine(self.job, child) else None
        return TrainingJobStatus(
            phase=phase,
            conditions=conditions.merge(old.conditions, observations, generation=generation, now=self.now),
            observed_generation=generation,
            start_time=old.start_time or self._start_time(phase, mine),
            completion_time=old.completion_time,
            attempts=attempts_of(self.job, mine, self.observed.run, phase),
            gpus=gpus_of(self.job.spec),
            job_name=self.job.metadata.name if mine else old.job_name,
            trainer_status=self._trainer_status(phase) or old.trainer_status,
            mlflow=self._mlflow() or old.mlflow,
            lineage=lineage_of(self.job, self.observed.run, self.observed.pods),
            model_version_ref=old.model_version_ref,
        )

    def _start_time(self, phase: Phase, child: ChildJob | None) -> str | None:
        if child is None or phase == "Pending":
            return None
        if self.observed.started_at is not None or phase == "Running":
            return conditions.timestamp(self.observed.started_at or self.now)
        return child.start_time

    def _trainer_status(self, phase: Phase) -> TrainerStatus | None:
        run = self.observed.run
        if run is None:
            return None
        if phase == "Succeeded":
            return final_status(run, self.job.spec)
        return trainer_status(run, self.job.spec, self.job.status.trainer_status)

    def _mlflow(self) -> MlflowRun | None:
        run = self.observed.run
        if run is None:
            return None
        return MlflowRun(run_id=run.run_id, experiment_id=run.experiment_id, url=self.run_url)

    def _run_id(self) -> str | None:
        """The run in the Job's environment counts: the pods write to it."""
        observed, status = self.observed, self.job.status
        if observed.child is not None and is_mine(self.job, observed.child) and observed.child.run_id:
            return observed.child.run_id
        if observed.run is not None:
            return observed.run.run_id
        return status.mlflow.run_id if status.mlflow else None
