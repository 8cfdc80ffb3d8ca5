"""An MLflow whose proxy answers in its place, or nobody does: trainings wait for it, and go on."""

from typing import Any

import pytest
from integration.operator.manifests import condition, gated, training_job
from servers.fault_proxy import Fault

Object = dict[str, Any]
NOT_FOUND_PAGE = "<html><head><title>404 Not Found</title></head><body>nginx</body></html>"
EVERY_REQUEST = 1_000_000


@pytest.fixture
def behind_proxy(operator_process, mlflow_proxy):
    """The operator that asks MLflow through the proxy, not started."""
    operator_process.tracking_uri = mlflow_proxy.url
    return operator_process


async def waits_for_mlflow(world, name: str, eventually) -> Object:
    async def told() -> Object | None:
        job = await world.training_job(name)
        if not (job.get("status") or {}).get("conditions"):
            return None
        return job if condition(job, "Reconciling")["reason"] == "MLflowUnavailable" else None

    return await eventually(told, f"TrainingJob {name} waits for MLflow")


@pytest.mark.parametrize("outage", [404, 400, 403, 502, None], ids=["404", "400", "403", "502", "hangs"])
async def test_a_training_that_ends_while_mlflow_is_away_is_registered_afterwards(
    outage, world, behind_proxy, mlflow_proxy, tracking, unique, eventually
) -> None:
    behind_proxy.start()
    await behind_proxy.ready()
    await world.apply(training_job(unique, **gated(0.8)))
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    page = Fault(lambda _: True, outage, {"Content-Type": "text/html"}, NOT_FOUND_PAGE, times=EVERY_REQUEST)
    if outage is None:
        mlflow_proxy.stall()
    else:
        mlflow_proxy.inject(page)
    await world.apply(training_job(f"{unique}-new"))
    await world.train(tracking, unique, 0.9)
    ended = await waits_for_mlflow(world, unique, eventually)
    assert ended["status"]["phase"] == "Registering"
    assert mlflow_proxy.url in condition(ended, "Reconciling")["message"]
    assert (await waits_for_mlflow(world, f"{unique}-new", eventually))["status"]["phase"] == "Pending"
    if outage is None:
        mlflow_proxy.resume()
    else:
        mlflow_proxy.withdraw(page)
    await world.phase(unique, "Succeeded")
    await world.version_phase(f"{unique}-1", "Production")
    await world.job(f"{unique}-new")
    assert len(tracking.search_model_versions(f"name='{unique}'")) == 1


async def test_what_mlflow_itself_refuses_ends_the_training(
    world, behind_proxy, mlflow_proxy, tracking, unique
) -> None:
    tracking.delete_experiment(tracking.create_experiment(unique))
    behind_proxy.start()
    await behind_proxy.ready()
    await world.apply(training_job(unique))
    failed = condition(await world.phase(unique, "Failed"), "Failed")
    assert failed["reason"] == "MLflowRefused"
    assert "mlflow experiments restore" in failed["message"]


async def test_a_run_that_mlflow_has_no_more_ends_the_training(
    world, behind_proxy, tracking, unique, mlflow_proxy
) -> None:
    """MLflow's own 404, for it names what is absent."""
    behind_proxy.start()
    await behind_proxy.ready()
    await world.apply(training_job(unique))
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    absent = '{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run with id=0 not found"}'
    headers = {"Content-Type": "application/json"}
    mlflow_proxy.inject(
        Fault(lambda asked: "logged-models/search" in asked.path, 404, headers, absent, times=EVERY_REQUEST)
    )
    await world.train(tracking, unique, 0.9)
    failed = condition(await world.phase(unique, "Failed"), "Failed")
    assert failed["reason"] == "MLflowRefused"
    assert "Run with id=0 not found" in failed["message"]
