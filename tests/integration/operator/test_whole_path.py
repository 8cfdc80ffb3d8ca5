"""From apply to Production with a real API server and a real MLflow; only the training is done by hand."""

from typing import Any

import pytest
from integration.operator.manifests import IMAGE_DIGEST, condition, gated, training_job
from mlflow import MlflowClient

from mlinfra.kube.resource import JOBS, MODEL_VERSIONS, PODS, TRAINING_JOBS
from mlinfra.tracking.contract import (
    FEATURE_SNAPSHOT_TAG,
    IMAGE_DIGEST_TAG,
    NAMESPACE_TAG,
    PROGRESS_TAG,
    TRAINING_JOB_UID_TAG,
)
from mlinfra.tracking.stages import set_stage

Object = dict[str, Any]


def runs_of(tracking: MlflowClient, model: str, uid: str) -> list[Any]:
    experiment = tracking.get_experiment_by_name(model)
    assert experiment is not None
    return list(
        tracking.search_runs(
            [experiment.experiment_id], filter_string=f"tags.`{TRAINING_JOB_UID_TAG}` = '{uid}'"
        )
    )


async def test_a_training_job_comes_to_production(world, operator, tracking, unique, eventually) -> None:
    await world.apply(training_job(unique, **gated(0.8)))
    run_id = await world.run_id(unique)
    await world.phase(unique, "Pending")
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    progress = (
        '{"attempt":1,"currentEpoch":3,"totalEpochs":10,"progressPercentage":30,'
        '"estimatedRemainingSeconds":7,"metrics":{"val_accuracy":0.5}}'
    )
    snapshot = "snapshot-6f1d0c5be0f34a0d9a1b2c3d"
    tracking.set_tag(run_id, FEATURE_SNAPSHOT_TAG, snapshot)
    tracking.set_tag(run_id, PROGRESS_TAG, progress)

    async def progressed() -> Object | None:
        found = (await world.training_job(unique))["status"].get("trainerStatus")
        return found if found and found.get("progressPercentage") == 30 else None

    told = await eventually(progressed, "progress", seconds=5)
    assert told["metrics"] == [{"name": "val_accuracy", "value": "0.5"}]
    await world.train(tracking, unique, 0.9)

    done = (await world.phase(unique, "Succeeded"))["status"]
    assert done["modelVersionRef"] == {"name": f"{unique}-1"}
    assert done["mlflow"]["runID"] == run_id
    assert done["lineage"] == {"featureSnapshot": snapshot, "imageDigest": IMAGE_DIGEST}
    assert done["attempts"] == 1
    version = await world.version_phase(f"{unique}-1", "Production")
    assert "ownerReferences" not in version["metadata"]
    assert version["spec"]["source"] == {
        "runID": run_id,
        "trainingJob": unique,
        "featureSnapshot": snapshot,
        "imageDigest": IMAGE_DIGEST,
    }
    assert tracking.get_model_version(unique, "1").tags[IMAGE_DIGEST_TAG] == IMAGE_DIGEST
    assert version["status"]["gates"] == [{"metric": "test_accuracy", "value": "0.9", "outcome": "Passed"}]
    registered = tracking.get_model_version_by_alias(unique, "production")
    assert (registered.version, registered.current_stage, registered.run_id) == ("1", "Production", run_id)
    assert tracking.get_registered_model(unique).tags[NAMESPACE_TAG] == world.namespace
    reasons = [event["reason"] for event in await world.events(unique) if event["source"]]
    assert {"JobCreated", "Started", "Registered"} <= set(reasons)


async def test_an_operator_killed_at_any_time_creates_nothing_twice(
    world, operator, tracking, unique
) -> None:
    await world.apply(training_job(unique, **gated(0.8)))
    uid = (await world.training_job(unique))["metadata"]["uid"]
    await world.job(unique)
    operator.kill()
    operator.start()
    await operator.ready()
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    operator.kill()
    await world.train(tracking, unique, 0.9)
    operator.start()
    await world.version_phase(f"{unique}-1", "Production")
    operator.kill()
    operator.start()
    await operator.ready()
    await world.phase(unique, "Succeeded")

    jobs, _ = await world.kube.list(JOBS, world.namespace)
    versions, _ = await world.kube.list(MODEL_VERSIONS, world.namespace)
    assert len(jobs) == len(versions) == 1
    assert len(runs_of(tracking, unique, uid)) == 1
    assert len(tracking.search_model_versions(f"name='{unique}'")) == 1


async def test_a_job_deleted_and_applied_again_trains_anew(
    world, operator, tracking, unique, eventually
) -> None:
    first = await world.apply(training_job(unique))
    old_run = await world.run_id(unique)
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    await world.kube.delete(TRAINING_JOBS, unique, world.namespace)
    second = await world.apply(training_job(unique))
    assert second["metadata"]["uid"] != first["metadata"]["uid"]

    async def new_job() -> Object | None:
        job = await world.kube.find(JOBS, unique, world.namespace)
        owned = job and job["metadata"]["ownerReferences"][0]["uid"] == second["metadata"]["uid"]
        return job if owned else None

    await eventually(new_job, "the Job of the new TrainingJob")
    assert await world.run_id(unique) != old_run

    async def killed() -> bool:
        return bool(tracking.get_run(old_run).info.status == "KILLED")

    await eventually(killed, "the old run ends")
    await world.phase(unique, "Pending")
    await world.train(tracking, unique, 0.9)
    await world.version_phase(f"{unique}-1", "Production")


async def test_a_run_that_lost_its_training_job_while_the_operator_was_down_ends(
    world, operator, tracking, unique, eventually
) -> None:
    await world.apply(training_job(unique))
    run_id = await world.run_id(unique)
    operator.kill()
    await world.kube.delete(TRAINING_JOBS, unique, world.namespace)
    operator.start()

    async def killed() -> bool:
        return bool(tracking.get_run(run_id).info.status == "KILLED")

    await eventually(killed, "the run ends")


async def test_a_model_below_its_gate_is_registered_and_not_promoted(
    world, operator, tracking, unique
) -> None:
    await world.apply(training_job(unique, **gated(0.8)))
    await world.train(tracking, unique, 0.7)
    version = await world.version_phase(f"{unique}-1", "GatesFailed")
    stalled = condition(version, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "GatesFailed")
    assert "test_accuracy 0.7 must be at least 0.8" in stalled["message"]
    assert condition(version, "GatesPassed")["status"] == "False"
    assert tracking.get_model_version(unique, "1").current_stage == "None"
    assert (await world.phase(unique, "Succeeded"))["status"]["modelVersionRef"]


async def test_a_newer_version_takes_production_and_the_older_is_archived(
    world, operator, tracking, unique
) -> None:
    first, second = f"{unique}-a", f"{unique}-b"
    await world.apply(training_job(first, unique, **gated(0.8)))
    await world.train(tracking, first, 0.9)
    await world.version_phase(f"{unique}-1", "Production")
    await world.apply(training_job(second, unique, **gated(0.8)))
    await world.train(tracking, second, 0.95)
    await world.version_phase(f"{unique}-2", "Production")
    old = await world.version_phase(f"{unique}-1", "Archived")
    assert old["spec"]["stage"] == "Archived"
    assert condition(old, "Ready")["status"] == "True"
    stages = {v.version: v.current_stage for v in tracking.search_model_versions(f"name='{unique}'")}
    assert stages == {"1": "Archived", "2": "Production"}
    assert tracking.get_model_version_by_alias(unique, "production").version == "2"

    # A person rolls back: the older version asks for Production again, in a person's name.
    await world.kube.merge_patch(
        MODEL_VERSIONS,
        f"{unique}-1",
        {"spec": {"stage": "Production"}},
        world.namespace,
        field_manager="person",
    )
    await world.version_phase(f"{unique}-1", "Production")
    await world.version_phase(f"{unique}-2", "Archived")
    assert tracking.get_model_version_by_alias(unique, "production").version == "1"


async def test_a_stage_that_a_person_asked_for_is_not_patched(world, operator, tracking, unique) -> None:
    first, second = f"{unique}-a", f"{unique}-b"
    await world.apply(training_job(first, unique, promotion={"auto": False}))
    await world.train(tracking, first, 0.9)
    await world.version_phase(f"{unique}-1", "Registered")
    await world.kube.merge_patch(
        MODEL_VERSIONS,
        f"{unique}-1",
        {"spec": {"stage": "Production"}},
        world.namespace,
        field_manager="person",
    )
    await world.version_phase(f"{unique}-1", "Production")
    await world.apply(training_job(second, unique))
    await world.train(tracking, second, 0.9)
    await world.version_phase(f"{unique}-2", "Production")
    old = await world.version_phase(f"{unique}-1", "Archived")
    assert old["spec"]["stage"] == "Production"
    assert condition(old, "Promoted")["reason"] == "Superseded"
    assert condition(old, "Ready")["status"] == "True"
    # The next newest claim counts when the winner is gone.
    await world.kube.delete(MODEL_VERSIONS, f"{unique}-2", world.namespace)
    await world.version_phase(f"{unique}-1", "Production")
    assert tracking.get_model_version_by_alias(unique, "production").version == "1"


async def test_a_version_without_a_stage_mirrors_mlflow(world, operator, tracking, unique) -> None:
    await world.apply(training_job(unique, promotion={"auto": False}))
    await world.train(tracking, unique, 0.9)
    await world.version_phase(f"{unique}-1", "Registered")
    set_stage(tracking, unique, "1", "Staging")
    operator.kill()
    operator.start()
    version = await world.version_phase(f"{unique}-1", "Staging")
    assert "stage" not in version["spec"]
    assert version["status"]["aliases"] == ["staging"]


async def test_mlflow_may_be_away_when_the_operator_starts(
    world, operator_process, mlflow_server, tracking, unique, eventually
) -> None:
    mlflow_server.stop()
    try:
        operator_process.start()
        await operator_process.ready()
        await world.apply(training_job(unique))

        async def told() -> Object | None:
            job = await world.training_job(unique)
            if not (job.get("status") or {}).get("conditions"):
                return None
            found = condition(job, "Reconciling")
            return found if found["reason"] == "MLflowUnavailable" else None

        reconciling = await eventually(told, "the condition tells that MLflow is away")
        assert reconciling["status"] == "True"
        assert mlflow_server.uri in reconciling["message"]
        assert await world.kube.find(JOBS, unique, world.namespace) is None
    finally:
        mlflow_server.start()
    await world.job(unique)
    await world.train(tracking, unique, 0.9)
    await world.version_phase(f"{unique}-1", "Production")


async def test_mlflow_may_be_away_when_the_training_ends(
    world, operator, mlflow_server, tracking, unique, eventually
) -> None:
    await world.apply(training_job(unique))
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    run_id = await world.run_id(unique)
    logged = tracking.create_logged_model(
        tracking.get_run(run_id).info.experiment_id, name="model", source_run_id=run_id
    )
    tracking.finalize_logged_model(logged.model_id, "READY")
    mlflow_server.stop()
    try:
        await world.end_pod(unique)
        job = await world.phase(unique, "Registering")
        assert condition(job, "Reconciling")["reason"] == "MLflowUnavailable"
    finally:
        mlflow_server.start()
    await world.version_phase(f"{unique}-1", "Production")

    async def finished() -> bool:
        return bool(tracking.get_run(run_id).info.status == "FINISHED")

    await eventually(finished, "the run ends")


async def test_a_job_of_that_name_that_is_not_ours_is_a_conflict(world, operator, tracking, unique) -> None:
    foreign = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": unique},
        "spec": {
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "image"}]}},
        },
    }
    created = await world.kube.create(JOBS, foreign, world.namespace)
    await world.apply(training_job(unique))
    job = await world.phase(unique, "Failed")
    assert condition(job, "Failed")["reason"] == "ChildNameConflict"
    kept = await world.kube.get(JOBS, unique, world.namespace)
    assert kept["metadata"]["uid"] == created["metadata"]["uid"]


async def test_a_job_that_the_api_server_refuses_fails_with_its_words(world, operator, unique) -> None:
    volumes = {"volumes": [{"name": "data", "hostPath": {"path": ""}}]}
    await world.apply(training_job(unique, **volumes))
    job = await world.phase(unique, "Failed")
    failed = condition(job, "Failed")
    assert failed["reason"] == "JobRejected"
    assert "hostPath" in failed["message"]


async def test_bad_input_is_told_in_the_trainers_words_without_a_retry(
    world, operator, tracking, unique, eventually
) -> None:
    await world.apply(training_job(unique, backoffLimit=3))
    run_id = await world.run_id(unique)
    await world.run_pod(unique)
    message = '{"reason": "UnknownFeature", "message": "feature group sp500 has no column foo"}'
    await world.end_pod(unique, exit_code=78, message=message)
    job = await world.phase(unique, "Failed")
    failed = condition(job, "Failed")
    assert failed["reason"] == "UnknownFeature"
    assert failed["message"] == "feature group sp500 has no column foo"
    assert condition(job, "Stalled")["status"] == "True"
    pods, _ = await world.kube.list(PODS, world.namespace)
    assert len(pods) == 1

    async def ended() -> bool:
        return bool(tracking.get_run(run_id).info.status == "FAILED")

    await eventually(ended, "the run ends")
    # A terminal TrainingJob stays terminal: a vanished Job is not created again.
    await world.kube.delete(JOBS, unique, world.namespace)
    other = f"{unique}-other"
    await world.apply(training_job(other))
    await world.phase(other, "Pending")
    assert await world.kube.find(JOBS, unique, world.namespace) is None


async def test_a_crash_is_told_with_exit_code_and_last_words(world, operator, unique) -> None:
    await world.apply(training_job(unique))
    await world.run_pod(unique)
    await world.end_pod(unique, exit_code=137, message="", reason="OOMKilled")
    failed = condition(await world.phase(unique, "Failed"), "Failed")
    assert failed["reason"] == "OOMKilled"
    other = f"{unique}-other"
    await world.apply(training_job(other))
    await world.run_pod(other)
    await world.end_pod(other, exit_code=1, message="ValueError: boom")
    failed = condition(await world.phase(other, "Failed"), "Failed")
    assert failed["reason"] == "BackoffLimitExceeded"
    assert "exit code 1: ValueError: boom" in failed["message"]


@pytest.mark.parametrize(("models", "reason"), [(0, "NoModel"), (2, "AmbiguousModel")])
async def test_a_run_has_to_have_one_result(
    world, operator, tracking, unique, models: int, reason: str
) -> None:
    await world.apply(training_job(unique))
    await world.train(tracking, unique, 0.9, models=models)
    failed = condition(await world.phase(unique, "Failed"), "Failed")
    assert failed["reason"] == reason


async def test_a_model_of_another_namespace_is_refused_before_any_training(
    world, operator, tracking, unique
) -> None:
    tracking.create_registered_model(unique, tags={NAMESPACE_TAG: "elsewhere"})
    await world.apply(training_job(unique))
    failed = condition(await world.phase(unique, "Failed"), "Failed")
    assert failed["reason"] == "OwnedByOtherNamespace"
    assert await world.kube.find(JOBS, unique, world.namespace) is None
    assert tracking.get_experiment_by_name(unique) is None


async def test_why_a_pod_does_not_start_is_told(world, operator, unique, eventually) -> None:
    await world.apply(training_job(unique))
    await world.phase(unique, "Pending")

    async def told() -> Object | None:
        found = condition(await world.training_job(unique), "Reconciling")
        return found if found["reason"] == "Unschedulable" else None

    found = await eventually(told, "the condition tells why")
    assert "no nodes available" in found["message"]
