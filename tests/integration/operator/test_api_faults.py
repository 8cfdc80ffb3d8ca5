"""What the API server may answer instead of what was asked for, and that the work goes on after it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from integration.operator.manifests import condition, gated, training_job
from servers.fault_proxy import Fault, on

from mlinfra.kube.resource import JOBS, TRAINING_JOBS

Object = dict[str, Any]
WRITES = [
    on("POST", "/jobs"),
    on("PATCH", "/trainingjobs/"),
    on("POST", "/modelversions"),
    on("PATCH", "/modelversions/"),
]
WATCHED = ("trainingjobs", "modelversions", "retrainingpolicies", "jobs")


def told(code: int) -> str:
    """An error in the middle of a watch."""
    return f'{{"type":"ERROR","object":{{"kind":"Status","code":{code},"message":"injected"}}}}\n'


@pytest.fixture
def ready(probe, eventually):
    async def wait() -> None:
        async def answered() -> bool:
            return (await probe("/readyz"))[0] == 200

        await eventually(answered, "the operator is ready")

    return wait


async def comes_to_production(world, tracking, name: str) -> None:
    """Train to the end: one Job, one run, one version."""
    await world.train(tracking, name, 0.9)
    await world.version_phase(f"{name}-1", "Production")
    await world.phase(name, "Succeeded")
    jobs, _ = await world.kube.list(JOBS, world.namespace)
    assert [job["metadata"]["name"] for job in jobs] == [name]
    experiment = tracking.get_experiment_by_name(name)
    runs = tracking.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"]
    assert len(tracking.search_model_versions(f"name='{name}'")) == 1


@pytest.mark.parametrize(
    ("status", "headers", "carried_out"),
    [
        (409, {}, False),
        (429, {"Retry-After": "1"}, False),
        (500, {}, False),
        (503, {}, True),
        (None, {}, True),
    ],
    ids=["conflict", "too-many-requests", "error", "error-after-the-write", "lost-answer"],
)
async def test_no_write_is_lost_or_made_twice(
    status, headers, carried_out, world, proxied_operator, proxy, ready, tracking, unique
) -> None:
    faults = [
        proxy.inject(Fault(matches, status, headers, times=2, carried_out=carried_out)) for matches in WRITES
    ]
    proxied_operator.start()
    await ready()
    await world.apply(training_job(unique, **gated(0.8)))
    await comes_to_production(world, tracking, unique)
    # A write that was carried out all the same need not be made again.
    assert all(fault.met > 0 for fault in faults)


@pytest.mark.parametrize(("status", "carried_out"), [(None, True), (None, False), (500, False)])
async def test_a_deletion_of_a_job_is_neither_lost_nor_meant_for_the_next_one(
    status, carried_out, world, proxied_operator, proxy, ready, tracking, unique
) -> None:
    proxied_operator.start()
    await ready()
    await world.apply(training_job(unique, **gated(0.8)))
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    fault = proxy.inject(Fault(on("DELETE", "/jobs/"), status, times=2, carried_out=carried_out))
    for suspend, phase in ((True, "Suspended"), (False, "Pending")):
        patch = {"spec": {"suspend": suspend}}
        await world.kube.merge_patch(TRAINING_JOBS, unique, patch, world.namespace)
        await world.phase(unique, phase)
    assert fault.met > 0
    await comes_to_production(world, tracking, unique)
    created = [
        seen
        for seen in proxy.seen
        if (seen.method, seen.status) == ("POST", 201) and seen.target.partition("?")[0].endswith("/jobs")
    ]
    assert len(created) == 2


@pytest.mark.parametrize(
    ("status", "text"),
    [(410, ""), (429, ""), (503, ""), (403, ""), (200, told(410)), (200, told(500))],
    ids=["gone", "too-many-requests", "error", "forbidden", "gone-midway", "error-midway"],
)
async def test_a_watch_that_is_refused_is_opened_again(
    status, text, world, proxied_operator, proxy, ready, tracking, unique, eventually
) -> None:
    proxied_operator.start()
    await ready()
    await world.apply(training_job(unique, **gated(0.8)))
    await world.job(unique)
    faults = [
        proxy.inject(Fault(on("GET", f"/{plural}", watch=True), status, {"Retry-After": "1"}, text))
        for plural in WATCHED
    ]

    async def met() -> bool:
        return all(fault.met for fault in faults)

    await eventually(met, "each watch is refused")
    await ready()
    await comes_to_production(world, tracking, unique)


async def test_a_token_that_is_no_longer_accepted_is_read_again(
    world, proxied_operator, probe, ready, tracking, unique, eventually
) -> None:
    proxied_operator.start()
    await ready()
    good = proxied_operator.token.read_text()
    proxied_operator.token.write_text("expired")

    async def refused() -> bool:
        text = (await probe("/readyz"))[1]
        return all(f"watch of {plural}" in text for plural in WATCHED)

    await eventually(refused, "readiness tells that the token is refused")
    assert (await probe("/healthz"))[0] == 200
    await world.apply(training_job(unique, **gated(0.8)))
    proxied_operator.token.write_text(good)
    await ready()
    await comes_to_production(world, tracking, unique)
    log = proxied_operator.log.read_text()
    assert "starts over" not in log
    assert good not in log


async def test_a_status_that_somebody_changed_meanwhile_is_decided_on_anew(
    world, proxied_operator, proxy, ready, tracking, unique, eventually
) -> None:
    """The API server refuses the version that the operator saw last."""
    proxied_operator.start()
    await ready()
    await world.apply(training_job(unique))
    await world.job(unique)
    proxy.stall()
    await world.kube.merge_patch(
        TRAINING_JOBS, unique, {"metadata": {"annotations": {"seen": "no"}}}, world.namespace
    )
    await world.run_pod(unique)
    proxy.resume()
    running = await world.phase(unique, "Running")
    assert condition(running, "Reconciling")["status"] == "True"
    run = tracking.get_run(await world.run_id(unique))
    assert run.info.status == "RUNNING"


async def test_a_time_to_live_that_was_taken_away_unseen_deletes_nothing(
    world, proxied_operator, proxy, ready, unique, eventually
) -> None:
    proxied_operator.start()
    await ready()
    await world.apply(training_job(unique, ttlSecondsAfterFinished=3))
    await world.run_pod(unique)
    await world.end_pod(unique, exit_code=1)
    failed = await world.phase(unique, "Failed")
    proxy.stall()
    over = datetime.fromisoformat(failed["status"]["completionTime"]) + timedelta(seconds=5)

    async def asked_to_delete() -> bool:
        return datetime.now(UTC) > over

    await eventually(asked_to_delete, "the time to live is over")
    patch = {"spec": {"ttlSecondsAfterFinished": None}}
    changed = await world.kube.merge_patch(TRAINING_JOBS, unique, patch, world.namespace)
    proxy.resume()

    async def refused() -> bool:
        return any(seen.method == "DELETE" and seen.status == 409 for seen in proxy.seen)

    await eventually(refused, "the deletion is refused")

    async def seen() -> bool:
        job = await world.training_job(unique)
        return bool(job["status"]["observedGeneration"] == changed["metadata"]["generation"])

    await eventually(seen, "the change is seen")
