"""What Prometheus scrapes from a running operator."""

from integration.operator.manifests import training_job
from integration.operator.scraping import scrape
from prometheus_client.samples import Sample


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
