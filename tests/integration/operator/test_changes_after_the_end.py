"""A TrainingJob that came to its end: what may still change is told of as seen, and the end stays."""

from typing import Any

from integration.operator.manifests import training_job

from mlinfra.kube.resource import TRAINING_JOBS

Object = dict[str, Any]


async def failed(world: Any, name: str, **spec: Any) -> Object:
    await world.apply(training_job(name, **spec))
    await world.run_pod(name)
    await world.end_pod(name, exit_code=1)
    ended: Object = await world.phase(name, "Failed")
    return ended


async def test_a_change_after_the_end_is_told_of_as_seen_and_the_end_stays(
    world, operator, unique, eventually
) -> None:
    before = await failed(world, unique)
    patch = {"spec": {"suspend": True, "ttlSecondsAfterFinished": 3600}}
    changed = await world.kube.merge_patch(TRAINING_JOBS, unique, patch, world.namespace)
    assert changed["metadata"]["generation"] == before["metadata"]["generation"] + 1

    async def seen() -> Object | None:
        job = await world.training_job(unique)
        told = job["status"]["observedGeneration"] == job["metadata"]["generation"]
        return job if told else None

    after = await eventually(seen, "status.observedGeneration is the new generation")
    generation = after["metadata"]["generation"]
    assert {each["observedGeneration"] for each in after["status"]["conditions"]} == {generation}
    for status in (before["status"], after["status"]):
        for each in (status, *status["conditions"]):
            del each["observedGeneration"]
    assert after["status"] == before["status"]


async def test_the_command_line_changes_nothing_of_what_came_to_its_end(
    world, operator, unique, mlinfra
) -> None:
    before = await failed(world, unique)
    for command in ("suspend", "resume"):
        late = await mlinfra(command, unique)
        assert late.returncode == 2
        assert "has come to its end (Failed)" in late.stderr
    after = await world.training_job(unique)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
