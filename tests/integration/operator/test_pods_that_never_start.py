"""Pods that the Job controller cannot create: the TrainingJob says where to look."""

from typing import Any

import pytest
from integration.operator.manifests import condition, training_job

Object = dict[str, Any]


@pytest.mark.parametrize("field", ["priorityClassName", "serviceAccountName"])
async def test_a_job_that_gets_no_pod_is_told_of_with_the_place_to_look_at(
    world, operator, unique, eventually, field: str
) -> None:
    await world.apply(training_job(unique, **{field: f"{unique}-none"}))

    async def missed() -> Object | None:
        job: Object = await world.training_job(unique)
        return job if job.get("status") and condition(job, "Ready")["reason"] == "PodsNotCreated" else None

    pending = await eventually(missed, "the TrainingJob says that no pod is created", seconds=120)
    assert pending["status"]["phase"] == "Pending"
    assert f"kubectl describe job {unique} -n {world.namespace}" in condition(pending, "Ready")["message"]
    # That is where the reason stands.
    refused = [event for event in await world.events(unique) if event["reason"] == "FailedCreate"]
    assert any(f"{unique}-none" in event["message"] for event in refused), refused

    async def event_posted() -> bool:
        return "PodsNotCreated" in [event["reason"] for event in await world.events(unique)]

    await eventually(event_posted, "an Event tells of it")
