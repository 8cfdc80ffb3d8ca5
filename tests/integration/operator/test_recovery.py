"""What goes wrong around the operator, and how it comes back, with a real API server and MLflow."""

from typing import Any

from integration.operator.manifests import condition, gated, training_job

from mlinfra.kube.resource import MODEL_VERSIONS
from mlinfra.tracking.contract import PROGRESS_TAG

Object = dict[str, Any]
PROGRESS = '{"currentEpoch":3,"totalEpochs":10,"progressPercentage":30}'


async def test_progress_is_known_again_once_mlflow_is_back(
    world, operator, mlflow_server, tracking, unique, eventually
) -> None:
    await world.apply(training_job(unique))
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    run_id = await world.run_id(unique)
    operator.kill()
    tracking.set_tag(run_id, PROGRESS_TAG, PROGRESS)
    mlflow_server.stop()
    try:
        operator.start()

        async def told() -> Object | None:
            found = condition(await world.training_job(unique), "Reconciling")
            return found if found["reason"] == "ProgressUnknown" else None

        reconciling = await eventually(told, "the condition tells that progress is not known")
        assert mlflow_server.uri in reconciling["message"]
        assert (await world.training_job(unique))["status"]["phase"] == "Running"
    finally:
        mlflow_server.start()

    async def progressed() -> bool:
        status = (await world.training_job(unique))["status"]
        return bool((status.get("trainerStatus") or {}).get("progressPercentage") == 30)

    await eventually(progressed, "progress")


async def test_a_training_whose_run_somebody_deleted_ends_with_its_own_words(
    world, operator, tracking, unique, eventually
) -> None:
    await world.apply(training_job(unique))
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    run_id = await world.run_id(unique)
    operator.kill()
    tracking.delete_run(run_id)
    operator.start()
    await operator.ready()
    await world.end_pod(unique, exit_code=1, message="RestException: the run is deleted")
    failed = condition(await world.phase(unique, "Failed"), "Failed")
    assert "the run is deleted" in failed["message"]


async def test_two_model_versions_of_one_version_do_not_fight(
    world, operator, tracking, unique, eventually
) -> None:
    await world.apply(training_job(unique, **gated(0.8)))
    await world.train(tracking, unique, 0.9)
    first = await world.version_phase(f"{unique}-1", "Production")
    twin = {
        "apiVersion": first["apiVersion"],
        "kind": first["kind"],
        "metadata": {"name": f"{unique}-twin"},
        "spec": {"modelName": unique, "version": "1", "stage": "Archived"},
    }
    await world.apply(twin)

    async def refused() -> Object | None:
        found = await world.model_version(f"{unique}-twin")
        if not (found.get("status") or {}).get("conditions"):
            return None
        return found if condition(found, "Stalled")["reason"] == "DuplicateVersion" else None

    told = await eventually(refused, "the duplicate is told")
    assert f"{unique}-1" in condition(told, "Stalled")["message"]
    assert tracking.get_model_version_by_alias(unique, "production").version == "1"
    # With the older one gone, the other one stands for the version.
    await world.kube.delete(MODEL_VERSIONS, f"{unique}-1", world.namespace)
    await world.version_phase(f"{unique}-twin", "Archived")
