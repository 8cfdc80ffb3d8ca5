"""Lists of many pages, the later of which the API server has forgotten, as it does after some minutes."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from integration.operator.manifests import condition, training_job
from servers.fault_proxy import Fault, Matches

from mlinfra.kube.resource import JOBS, PODS, TRAINING_JOBS, ResourceType
from mlinfra.resources.names import MANAGED_LABEL, TRAINING_JOB_UID_LABEL

Object = dict[str, Any]
ONE_PAGE = 3
"""So many objects a page has here, and not hundreds."""
EXPIRED = {
    "kind": "Status",
    "code": 410,
    "reason": "Expired",
    "message": "The provided continue parameter is too old",
}
CONTAINER = {"name": "other", "image": "image"}


def later_page(plural: str) -> Matches:
    def matches(request: web.Request) -> bool:
        return request.path.endswith(f"/{plural}") and "continue" in request.query

    return matches


def others(kind: str, **rest: Any) -> list[Object]:
    """A page of objects that come before those of the test's own, by their names."""
    api = {"Pod": "v1", "Job": "batch/v1", "TrainingJob": TRAINING_JOBS.api_version}[kind]
    labels = rest.pop("labels", {})
    return [
        {
            "apiVersion": api,
            "kind": kind,
            "metadata": {"name": f"a-{kind.lower()}-{number}", "labels": labels},
            **rest,
        }
        for number in range(ONE_PAGE)
    ]


@pytest.fixture
def fill(world):
    async def created(resource: ResourceType, objects: list[Object]) -> None:
        await asyncio.gather(*(world.kube.create(resource, obj, world.namespace) for obj in objects))

    return created


async def test_a_page_that_expired_loses_nothing_and_is_no_error(
    world, proxied_operator, proxy, fill, unique, eventually
) -> None:
    proxy.page_size = ONE_PAGE
    # A busy machine may be silent for longer, and that is told of in the log.
    del proxied_operator.environment["MLINFRA_WATCH_SILENCE_SECONDS"]
    proxied_operator.start()
    await proxied_operator.ready()
    started = await world.apply(training_job(unique))
    await world.run_pod(unique)
    await world.phase(unique, "Running")
    proxied_operator.kill()
    template = {"spec": {"containers": [CONTAINER], "restartPolicy": "Never"}}
    waits = {"modelName": unique, "image": "image", "suspend": True}
    await fill(TRAINING_JOBS, others("TrainingJob", spec=waits))
    await fill(
        JOBS, others("Job", labels={MANAGED_LABEL: "true"}, spec={"suspend": True, "template": template})
    )
    listed = [
        proxy.inject(Fault(later_page(each), 410, text=json.dumps(EXPIRED)))
        for each in ("trainingjobs", "jobs")
    ]
    proxied_operator.start()
    await proxied_operator.ready()
    assert [fault.met for fault in listed] == [1, 1]

    async def all_are_told() -> bool:
        jobs, _ = await world.kube.list(TRAINING_JOBS, world.namespace)
        phases = [(job.get("status") or {}).get("phase") for job in jobs]
        return phases.count("Suspended") == ONE_PAGE and phases.count("Running") == 1

    await eventually(all_are_told, "each TrainingJob is told of")

    labels = {TRAINING_JOB_UID_LABEL: started["metadata"]["uid"]}
    gated = {"containers": [CONTAINER], "schedulingGates": [{"name": "test/never"}]}
    await fill(PODS, others("Pod", labels=labels, spec=gated))
    pods = proxy.inject(Fault(later_page("pods"), 410, text=json.dumps(EXPIRED)))
    await world.end_pod(unique, exit_code=1, message="the disk is full")
    failed = condition(await world.phase(unique, "Failed"), "Failed")
    assert "the disk is full" in failed["message"]
    assert pods.met == 1
    log = proxied_operator.log.read_text()
    for trouble in ("the API server:", "listed again", "tried again", "starts over"):
        assert trouble not in log
