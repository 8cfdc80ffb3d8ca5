"""What comes next for a TrainingJob, and what its status says, for each state that can be observed."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from unit.operator.objects import NOW, NOW_TEXT, RUN_ID, child, model_version, run, training_job

from mlinfra.resources import TrainingJob
from mlinfra.resources.base import Condition
from mlinfra.resources.names import RETRAINING_POLICY_LABEL, TRIGGER_ANNOTATION
from mlinfra.tracking.contract import ATTEMPT_TAG, FEATURE_SNAPSHOT_TAG, MODEL_TAG
from mlinfra_operator.conditions import Event
from mlinfra_operator.tracking import Finish, LoggedModel, ModelOwner
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
)
from mlinfra_operator.trainingjob.observed import Observed, PodFacts, Refusal, Termination
from mlinfra_operator.trainingjob.plan import POD_PATIENCE_SECONDS, plan

UNOWNED = ModelOwner(None)
MODEL = LoggedModel("m-1", "model", "READY", {MODEL_TAG: "true"})
LONG_AGO = NOW - timedelta(seconds=POD_PATIENCE_SECONDS)


def planned(observed: Observed, job: TrainingJob | None = None) -> Plan:
    return plan(job or training_job(), observed, NOW, run_url="http://mlflow/run")


def condition(told: Plan, type_: str) -> Condition:
    return next(found for found in told.status.conditions if found.type == type_)


def complete(**facts: Any) -> Observed:
    return Observed(child=child(complete=True, succeeded=1, **facts), run=run())


@pytest.mark.parametrize(
    ("observed", "actions"),
    [
        (Observed(), (FindOwner(),)),
        (Observed(model_owner=UNOWNED), (EnsureRun(),)),
        (Observed(model_owner=ModelOwner("team")), (EnsureRun(),)),
        (Observed(model_owner=UNOWNED, run=run()), (CreateChild(RUN_ID),)),
        (Observed(child=child(active=1)), (ReadRun(RUN_ID),)),
        (Observed(child=child(active=1), run=run(), unready_since=LONG_AGO), (ListPods(),)),
        (Observed(child=child(failure=("BackoffLimitExceeded", ""))), (ReadRun(RUN_ID),)),
        (Observed(child=child(failure=("BackoffLimitExceeded", "")), run=run()), (ListPods(),)),
        (Observed(child=child(failure=("BackoffLimitExceeded", "")), unavailable="away"), (ListPods(),)),
        (complete(), (ReadRun(RUN_ID), ReadModels(RUN_ID), ListPods())),
        (
            Observed(child=child(complete=True), run=run(), models=(MODEL,)),
            (RegisterVersion(RUN_ID, "m-1"),),
        ),
        (
            Observed(child=child(complete=True), run=run(), models=(MODEL,), version="4"),
            (CreateModelVersion("4", RUN_ID),),
        ),
    ],
)
def test_each_state_asks_for_its_next_step(observed: Observed, actions: tuple[Action, ...]) -> None:
    decided = planned(observed)
    assert decided.actions == actions
    assert decided.status == training_job().status


def test_the_run_that_the_pods_are_told_counts_not_the_one_in_the_status() -> None:
    job = training_job(status={"mlflow": {"runID": "other", "experimentID": "7"}})
    decided = planned(Observed(child=child(active=1, run_id="of-the-pods")), job)
    assert decided.actions == (ReadRun("of-the-pods"),)


def test_a_suspended_training_has_no_pods_and_says_so() -> None:
    suspended = training_job(suspend=True)
    assert planned(Observed(child=child(active=1), run=run()), suspended).actions == (DeleteChild("job-uid"),)
    going = planned(Observed(child=child(active=1, deleting=True), run=run()), suspended)
    assert condition(going, "Reconciling").reason == "Suspending"
    at_rest = planned(Observed(), suspended)
    assert at_rest.actions == ()
    assert at_rest.status.phase == "Suspended"
    assert condition(at_rest, "Ready").status == condition(at_rest, "Suspended").status == "True"
    assert [event.reason for event in at_rest.events] == ["Suspended"]
    # `kubectl wait --for=condition=Suspended=false` ends when it goes on; then it stays known.
    resumed = training_job(status=at_rest.status.to_wire())
    for observed in (Observed(child=child(active=1), run=run()), Observed(refused="no")):
        told = condition(planned(observed, resumed), "Suspended")
        assert (told.status, told.reason) == ("False", "Resumed")
    assert not [found for found in going.status.conditions if found.type == "Suspended"]


def test_a_resumed_training_goes_on_with_its_run_in_a_new_job() -> None:
    status = {"phase": "Suspended", "attempts": 1, "mlflow": {"runID": RUN_ID, "experimentID": "7"}}
    resumed = training_job(status=status)
    seen = run(tags={ATTEMPT_TAG: "1"})
    assert planned(Observed(model_owner=UNOWNED, run=seen), resumed).actions == (CreateChild(RUN_ID),)
    waiting = planned(Observed(child=child(active=1), run=seen), resumed)
    assert waiting.status.phase == "Pending"
    assert [event.reason for event in waiting.events] == ["Resumed", "JobCreated"]
    again = planned(Observed(child=child(active=1, ready=1), run=run(tags={ATTEMPT_TAG: "2"})), resumed)
    assert (again.status.phase, again.status.attempts) == ("Running", 2)


@pytest.mark.parametrize("facts", [{"complete": True}, {"failure": ("BackoffLimitExceeded", "")}])
def test_what_has_ended_is_not_suspended(facts: dict[str, Any]) -> None:
    decided = planned(Observed(child=child(**facts)), training_job(suspend=True))
    assert not any(isinstance(action, DeleteChild) for action in decided.actions)


@pytest.mark.parametrize(
    ("ttl", "age", "actions", "requeue"),
    [
        (None, 10**6, (), None),
        (60, 0, (), 60),
        (60, 59, (), 1),
        (60, 60, (DeleteTrainingJob(),), None),
        (0, 0, (DeleteTrainingJob(),), None),
        (10**6, 0, (), 3600),
    ],
)
@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_training_goes_when_its_time_to_live_is_over(
    phase: str, ttl: int | None, age: int, actions: tuple[Action, ...], requeue: float | None
) -> None:
    completed = (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    job = training_job(ttlSecondsAfterFinished=ttl, status={"phase": phase, "completionTime": completed})
    decided = planned(Observed(), job)
    assert (decided.actions, decided.requeue_after) == (actions, requeue)


def test_the_end_itself_asks_to_be_looked_at_when_the_time_to_live_is_over() -> None:
    failed = Observed(child=child(failure=("Failed", "")), run=run(), pods=())
    assert planned(failed, training_job(ttlSecondsAfterFinished=90)).requeue_after == 90
    assert planned(failed, training_job()).requeue_after is None


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_nothing_follows_an_end(phase: str) -> None:
    job = training_job(status={"phase": phase, "observedGeneration": 1})
    for observed in (Observed(), complete(), Observed(child=child(failure=("Failed", "")))):
        assert planned(observed, job) == Plan(job.status)


@pytest.mark.parametrize(
    ("observed", "reason", "words"),
    [
        (
            Observed(model_owner=ModelOwner("elsewhere")),
            "OwnedByOtherNamespace",
            "belongs to namespace elsewhere",
        ),
        (Observed(refused="MLflow says no."), "MLflowRefused", "MLflow says no."),
        (
            Observed(child=child(owner_uid=None, training_job=None)),
            "ChildNameConflict",
            "a Job named job exists",
        ),
        (
            Observed(child=child(owner_uid="someone", training_job="other")),
            "ChildNameConflict",
            "not of this TrainingJob",
        ),
        (Observed(refusal=Refusal(422, "Invalid", "volumes is bad")), "JobRejected", "volumes is bad"),
        (Observed(child=child(complete=True, run_id=None)), "NoRun", "MLFLOW_RUN_ID is absent"),
        (
            Observed(child=child(complete=True), run=run(), refused="no such run"),
            "MLflowRefused",
            "no such run",
        ),
        (
            Observed(child=child(complete=True), run=run(), models=()),
            "NoModel",
            "logged no model",
        ),
        (
            Observed(
                child=child(complete=True), run=run(), models=(MODEL,), registered_elsewhere="elsewhere"
            ),
            "OwnedByOtherNamespace",
            "belongs to namespace elsewhere",
        ),
        (
            Observed(
                child=child(complete=True),
                run=run(),
                models=(MODEL,),
                version="4",
                refusal=Refusal(422, "Invalid", "policy says no"),
            ),
            "ModelVersionRejected",
            "policy says no",
        ),
        (
            Observed(
                child=child(complete=True),
                run=run(),
                models=(MODEL,),
                version="4",
                created_model_version=model_version(version="4", source={"runID": "another"}),
            ),
            "ChildNameConflict",
            "registered in MLflow as version 4",
        ),
    ],
)
def test_what_no_retry_changes_is_a_failure_with_its_reason(
    observed: Observed, reason: str, words: str
) -> None:
    decided = planned(observed)
    assert decided.status.phase == "Failed"
    for type_ in ("Failed", "Stalled"):
        found = condition(decided, type_)
        assert (found.status, found.reason) == ("True", reason)
        assert words in found.message
    assert condition(decided, "Ready").status == "False"
    assert decided.status.completion_time == NOW_TEXT
    assert [(event.type, event.reason) for event in decided.events] == [("Warning", reason)]
    assert not decided.actions
    assert not decided.retry


@pytest.mark.parametrize(
    ("observed", "phase", "reason"),
    [
        (Observed(unavailable="MLflow is away."), "Pending", "MLflowUnavailable"),
        (Observed(refusal=Refusal(403, "Forbidden", "quota")), "Pending", "JobNotCreated"),
        (Observed(refusal=Refusal(429, "TooManyRequests", "slow down")), "Pending", "JobNotCreated"),
        (
            Observed(child=child(complete=True), unavailable="MLflow is away."),
            "Registering",
            "MLflowUnavailable",
        ),
        (
            Observed(
                child=child(complete=True),
                run=run(),
                models=(MODEL,),
                version="4",
                refusal=Refusal(403, "Forbidden", "quota"),
            ),
            "Registering",
            "ModelVersionNotCreated",
        ),
    ],
)
def test_what_may_pass_is_tried_again_and_told(observed: Observed, phase: str, reason: str) -> None:
    decided = planned(observed)
    assert decided.retry
    assert decided.status.phase == phase
    found = condition(decided, "Reconciling")
    assert (found.status, found.reason) == ("True", reason)
    assert [event.reason for event in decided.events if event.type == "Warning"] == [reason]


def test_what_is_known_already_is_no_new_event() -> None:
    observed = Observed(unavailable="MLflow is away.")
    first = planned(observed)
    again = planned(observed, training_job(status=first.status.to_wire()))
    assert again.status == first.status
    assert again.events == ()


@pytest.mark.parametrize("asked", [Observed(unavailable="MLflow is away."), Observed(refused="no such run")])
def test_a_training_goes_on_while_its_run_cannot_be_read_and_is_asked_for_again(asked: Observed) -> None:
    observed = Observed(child=child(active=1, ready=1), unavailable=asked.unavailable, refused=asked.refused)
    decided = planned(observed)
    assert decided.status.phase == "Running"
    assert condition(decided, "Reconciling").reason == "ProgressUnknown"
    assert decided.requeue_after is not None
    assert not decided.actions


def test_the_job_of_a_deleted_training_job_is_waited_for() -> None:
    decided = planned(Observed(child=child(owner_uid="old-uid")))
    assert decided.status.phase == "Pending"
    assert condition(decided, "Reconciling").reason == "WaitingForOldJob"
    assert decided.requeue_after is not None
    assert decided.status.job_name is None


def test_a_job_that_is_being_deleted_is_told() -> None:
    decided = planned(Observed(child=child(active=1, ready=1, deleting=True), run=run()))
    assert condition(decided, "Reconciling").reason == "JobIsDeleted"


@pytest.mark.parametrize(
    ("facts", "tags", "phase"),
    [
        ({"active": 1}, {}, "Pending"),
        ({"active": 1, "ready": 1}, {}, "Running"),
        ({"active": 1, "failed": 1}, {}, "Running"),
        ({"active": 1}, {ATTEMPT_TAG: "1"}, "Running"),
    ],
)
def test_the_phase_is_running_once_a_pod_has_started(
    facts: dict[str, Any], tags: dict[str, str], phase: str
) -> None:
    decided = planned(Observed(child=child(**facts), run=run(tags=tags), unready_since=NOW))
    assert decided.status.phase == phase


def test_a_running_training_does_not_go_back_to_pending() -> None:
    job = training_job(status={"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "attempts": 2})
    decided = planned(Observed(child=child(active=1), run=run(), unready_since=NOW), job)
    assert decided.status.phase == "Running"
    assert decided.status.start_time == "2026-01-01T00:00:00Z"
    assert decided.status.attempts == 2


def test_a_created_job_and_a_started_pod_are_events_once() -> None:
    observed = Observed(child=child(active=1, ready=1), run=run())
    first = planned(observed)
    assert first.events == (
        Event("Normal", "JobCreated", "created Job job"),
        Event("Normal", "Started", "the training runs"),
    )
    assert first.status.start_time == NOW_TEXT
    assert first.status.job_name == "job"
    assert first.status.mlflow is not None
    assert first.status.mlflow.url == "http://mlflow/run"
    assert planned(observed, training_job(status=first.status.to_wire())).events == ()


def test_success_names_the_model_version_and_ends_the_run() -> None:
    observed = Observed(
        child=child(complete=True, succeeded=1),
        run=run(metrics={"test_accuracy": 0.8633093525}),
        models=(MODEL,),
        version="4",
        created_model_version=model_version(version="4"),
    )
    decided = planned(observed)
    assert decided.status.phase == "Succeeded"
    assert decided.status.model_version_ref is not None
    assert decided.status.model_version_ref.name == "model-4"
    assert decided.status.completion_time == NOW_TEXT
    assert decided.status.attempts == 1
    assert decided.status.trainer_status is not None
    assert decided.status.trainer_status.progress_percentage == 100
    assert [metric.value for metric in decided.status.trainer_status.metrics] == ["0.863309"]
    told = {found.type: found.status for found in decided.status.conditions}
    assert told == {"Ready": "True", "Reconciling": "False", "Stalled": "False", "Complete": "True"}
    assert decided.finish == Finish(RUN_ID, "FINISHED")
    assert [event.reason for event in decided.events] == ["Registered"]


def test_a_run_that_the_training_has_ended_is_left_as_it_is() -> None:
    observed = Observed(
        child=child(complete=True),
        run=run(status="FINISHED"),
        models=(MODEL,),
        version="4",
        created_model_version=model_version(version="4"),
    )
    assert planned(observed).finish is None


@pytest.mark.parametrize(
    ("policy", "tag", "known", "told"),
    [
        pytest.param(False, None, None, None, id="nothing known"),
        pytest.param(False, "snapshot-1", None, {"featureSnapshot": "snapshot-1"}, id="rows are read"),
        pytest.param(
            True,
            None,
            None,
            {"retrainingPolicy": "nightly", "trigger": "scheduled"},
            id="a policy asked, no rows are read yet",
        ),
        pytest.param(False, "snapshot-2", "snapshot-1", {"featureSnapshot": "snapshot-2"}, id="other rows"),
        pytest.param(False, None, "snapshot-1", {"featureSnapshot": "snapshot-1"}, id="run not known now"),
        pytest.param(False, "x" * 65, None, None, id="a tag that is no snapshot's ID"),
    ],
)
def test_the_status_tells_where_a_training_comes_from(
    policy: bool, tag: str | None, known: str | None, told: dict[str, str] | None
) -> None:
    job = training_job(status={"lineage": {"featureSnapshot": known}} if known else None)
    if policy:
        job.metadata.labels[RETRAINING_POLICY_LABEL] = "nightly"
        job.metadata.annotations[TRIGGER_ANNOTATION] = "scheduled"
    found = run(tags={FEATURE_SNAPSHOT_TAG: tag}) if tag else None
    status = planned(Observed(child=child(active=1, ready=1), run=found, unavailable="away"), job).status
    assert (status.lineage.to_wire() if status.lineage else None) == told


def test_a_failed_training_tells_what_its_pod_said_and_ends_its_run() -> None:
    end = Termination("Error", 78, '{"reason": "UnknownFeature", "message": "no column foo"}', "1")
    observed = Observed(
        child=child(failed=1, failure=("PodFailurePolicy", "exit code 78")),
        run=run(),
        pods=(PodFacts("job-x", "Failed", "", termination=end),),
    )
    decided = planned(observed)
    assert condition(decided, "Failed").reason == "UnknownFeature"
    assert condition(decided, "Failed").message == "no column foo"
    assert decided.finish == Finish(RUN_ID, "FAILED")
    assert decided.status.attempts == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: planned(Observed(unavailable="away")),
        lambda: planned(Observed(child=child(active=1, ready=1), run=run())),
        lambda: planned(Observed(refused="no")),
    ],
)
def test_every_status_tells_the_generation_that_it_is_of(make: Callable[[], Plan]) -> None:
    decided = make()
    assert decided.status.observed_generation == 1
    assert all(found.observed_generation == 1 for found in decided.status.conditions)
