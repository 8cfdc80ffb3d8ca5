"""What Prometheus scrapes from a running operator."""

import asyncio
from datetime import datetime

from integration.operator.manifests import training_job, watched_policy
from integration.operator.policy_status import ask, healthy, only_training, policy
from integration.operator.scraping import scrape
from prometheus_client.samples import Sample
from servers.fault_proxy import Fault, on
from servers.mlflow_server import free_port


async def test_jobs_by_phase_and_time_to_first_pod_are_scraped(
    world, operator_process, probed_address, unique, eventually
) -> None:
    operator_process.environment |= {"MLINFRA_METRICS_ADDRESS": probed_address}
    operator_process.start()
    await operator_process.ready()
    await world.apply(training_job(unique))
    await world.run_pod(unique)
    await world.phase(unique, "Running")

    def is_of_it(sample: Sample) -> bool:
        return (
            sample.labels.get("phase", "Running") == "Running"
            and sample.labels.get("namespace", world.namespace) == world.namespace
        )

    async def told() -> dict[str, float] | None:
        found = {sample.name: sample.value for sample in await scrape(probed_address, is_of_it)}
        return found if found.get("mlinfra_trainingjobs") else None

    # The operator hears of its own write of the phase a moment later.
    scraped = await eventually(told, "the running TrainingJob is scraped")
    assert scraped["mlinfra_trainingjobs"] == 1
    assert scraped["mlinfra_trainingjob_first_pod_delay_seconds_count"] == 1
    assert scraped["mlinfra_leader"] == 1


async def test_errors_queue_drift_and_the_last_training_are_scraped_from_an_operator_at_work(
    world, proxied_operator, proxy, prometheus, unique, eventually
) -> None:
    address = f"127.0.0.1:{free_port()}"
    proxied_operator.environment["MLINFRA_METRICS_ADDRESS"] = address
    proxied_operator.start()
    await proxied_operator.ready()
    await world.apply(watched_policy(unique, prometheus, drift="vector(0.31)", accuracy="vector(0.9)"))
    checked = await healthy(world, eventually, unique, "DriftWithoutLoss")
    assert checked["status"]["lastDriftScore"] == "0.31"
    refused = proxy.inject(Fault(on("POST", "/jobs"), 500))
    held = proxy.inject(Fault(on("POST", "/jobs"), None, hold=asyncio.Event()))
    await ask(world, unique, "by hand")
    training = (await only_training(world, unique, eventually))["metadata"]["name"]

    async def is_held() -> bool:
        return held.met == 1

    await eventually(is_held, "the Job is being created once more")
    assert refused.met == 1

    async def last_training() -> str | None:
        found: str | None = (await policy(world, unique))["status"].get("lastTrainingTime")
        return found

    started = datetime.fromisoformat(await eventually(last_training, "the training is told of"))
    named = {"namespace": world.namespace, "name": unique}

    async def told() -> list[Sample] | None:
        found = await scrape(address)
        # The operator hears of its own write a moment later.
        known = {sample.name for sample in found}
        return found if "mlinfra_retrainingpolicy_last_training_timestamp_seconds" in known else None

    samples = await eventually(told, "the last training is scraped")

    def value(metric: str, /, **labels: str) -> float:
        (found,) = (each.value for each in samples if (each.name, each.labels) == (metric, labels))
        return float(found)

    prefix = "mlinfra_retrainingpolicy"
    assert value(f"{prefix}_last_training_timestamp_seconds", **named) == started.timestamp()
    assert value(f"{prefix}_score", **named, monitor="drift") == 0.31
    assert value(f"{prefix}_score", **named, monitor="performance") == 0.9
    assert value(f"{prefix}_breached", **named, monitor="drift") == 1
    assert value(f"{prefix}_breached", **named, monitor="performance") == 0
    assert value("mlinfra_reconcile_errors_total", kind="TrainingJob") == 1
    looks = value("mlinfra_reconcile_duration_seconds_count", kind="TrainingJob")
    assert looks >= 1
    assert value("mlinfra_reconcile_duration_seconds_sum", kind="RetrainingPolicy") > 0
    assert value("mlinfra_workqueue_depth") >= 1
    assert held.hold is not None
    held.hold.set()
    await world.run_pod(training)
    await world.phase(training, "Running")

    async def rests() -> list[Sample] | None:
        found = await scrape(address)
        depth = [sample.value for sample in found if sample.name == "mlinfra_workqueue_depth"]
        return found if depth == [0] else None

    samples = await eventually(rests, "nothing waits any more")
    assert value("mlinfra_reconcile_errors_total", kind="TrainingJob") == 1
    assert value("mlinfra_reconcile_duration_seconds_count", kind="TrainingJob") > looks
