"""What the running operator logs for machines."""

import json
from typing import Any

from integration.operator.manifests import retraining_policy
from integration.operator.policy_status import ask, only_training

from mlinfra.kube.resource import RETRAINING_POLICIES

Object = dict[str, Any]


async def test_each_line_is_json_and_tells_its_object_and_generation(
    world, operator_process, unique, eventually
) -> None:
    await world.apply(retraining_policy(unique))
    change = {"spec": {"cooldownSeconds": 1}}
    changed = await world.kube.merge_patch(RETRAINING_POLICIES, unique, change, world.namespace)
    await ask(world, unique, "once")
    operator_process.environment["MLINFRA_LOG_FORMAT"] = "json"
    operator_process.start()
    job = await only_training(world, unique, eventually)

    async def told() -> list[Object]:
        lines = [json.loads(line) for line in operator_process.log.read_text().splitlines()]
        return [line for line in lines if f"created TrainingJob {job['metadata']['name']}" in line["message"]]

    (line,) = await eventually(told, "the operator logs that it created the TrainingJob")
    metadata = changed["metadata"]
    assert (line["kind"], line["namespace"], line["name"]) == ("RetrainingPolicy", world.namespace, unique)
    assert (line["uid"], line["generation"]) == (metadata["uid"], 2)
