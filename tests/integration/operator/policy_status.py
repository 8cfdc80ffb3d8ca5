"""What a RetrainingPolicy tells, and the trainings that it asked for."""

from typing import Any

from mlinfra.kube.resource import RETRAINING_POLICIES, TRAINING_JOBS
from mlinfra.resources.names import RETRAINING_POLICY_LABEL

Object = dict[str, Any]


async def healthy(world: Any, eventually: Any, name: str, reason: str) -> Object:
    """The policy, once its condition ModelHealthy has this reason."""

    async def told() -> Object | None:
        found = await world.kube.get(RETRAINING_POLICIES, name, world.namespace)
        reasons = [each["reason"] for each in (found.get("status") or {}).get("conditions") or ()]
        return found if reason in reasons else None

    found: Object = await eventually(told, f"{name} is {reason}")
    return found


async def trainings(world: Any, name: str) -> list[Object]:
    """The policy's TrainingJobs."""
    selector = f"{RETRAINING_POLICY_LABEL}={name}"
    found: list[Object] = (await world.kube.list(TRAINING_JOBS, world.namespace, label_selector=selector))[0]
    return found


async def lineage(world: Any, eventually: Any, name: str) -> Object:
    """What the policy's one training tells of why it was asked for."""

    async def told() -> Object | None:
        jobs = await trainings(world, name)
        return jobs[0].get("status", {}).get("lineage") if jobs else None

    found: Object = await eventually(told, f"the lineage of a training of {name}")
    assert len(await trainings(world, name)) == 1
    return found
