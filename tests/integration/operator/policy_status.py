"""What a RetrainingPolicy tells, what a person asks of it, and the trainings that came of that."""

from typing import Any

from mlinfra.kube.resource import RETRAINING_POLICIES, TRAINING_JOBS
from mlinfra.resources.names import RETRAIN_ANNOTATION, RETRAINING_POLICY_LABEL

Object = dict[str, Any]


async def policy(world: Any, name: str) -> Object:
    """The policy as it is now."""
    found: Object = await world.kube.get(RETRAINING_POLICIES, name, world.namespace)
    return found


async def ask(world: Any, name: str, value: str) -> None:
    """A person asks for a training."""
    patch = {"metadata": {"annotations": {RETRAIN_ANNOTATION: value}}}
    await world.kube.merge_patch(RETRAINING_POLICIES, name, patch, world.namespace)


async def reaches(world: Any, name: str, phase: str, eventually: Any) -> Object:
    """The policy, once it has this phase."""

    async def reached() -> Object | None:
        found = await policy(world, name)
        return found if (found.get("status") or {}).get("phase") == phase else None

    found: Object = await eventually(reached, f"the policy is {phase}")
    return found


async def ready_because(world: Any, name: str, reason: str, eventually: Any) -> Object:
    """The policy, once its condition Ready has this reason."""
    return await _says(world, name, "Ready", reason, eventually)


async def healthy(world: Any, eventually: Any, name: str, reason: str) -> Object:
    """The policy, once its condition ModelHealthy has this reason."""
    return await _says(world, name, "ModelHealthy", reason, eventually)


async def _says(world: Any, name: str, type_: str, reason: str, eventually: Any) -> Object:
    async def told() -> Object | None:
        found = await policy(world, name)
        told = (found.get("status") or {}).get("conditions") or ()
        return found if (type_, reason) in {(each["type"], each["reason"]) for each in told} else None

    found: Object = await eventually(told, f"{type_} of {name} is {reason}")
    return found


async def trainings(world: Any, name: str) -> list[Object]:
    """The policy's TrainingJobs."""
    selector = f"{RETRAINING_POLICY_LABEL}={name}"
    found: list[Object] = (await world.kube.list(TRAINING_JOBS, world.namespace, label_selector=selector))[0]
    return found


async def only_training(world: Any, name: str, eventually: Any, *, seconds: float = 30) -> Object:
    """The policy's one training, once it is there."""
    found = await eventually(lambda: trainings(world, name), "a TrainingJob", seconds=seconds)
    assert len(found) == 1
    only: Object = found[0]
    return only


async def lineage(world: Any, eventually: Any, name: str) -> Object:
    """What the policy's one training tells of why it was asked for."""

    async def told() -> Object | None:
        jobs = await trainings(world, name)
        return jobs[0].get("status", {}).get("lineage") if jobs else None

    found: Object = await eventually(told, f"the lineage of a training of {name}")
    assert len(await trainings(world, name)) == 1
    return found
