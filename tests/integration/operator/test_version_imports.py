"""Versions registered with plain MLflow appear as ModelVersions once, and stay MLflow's."""

from typing import Any

from integration.operator.manifests import register

from mlinfra.kube.resource import MODEL_VERSIONS
from mlinfra.tracking.contract import IMPORTED_TAG
from mlinfra.tracking.stages import set_stage

Object = dict[str, Any]


async def test_a_version_registered_outside_appears_and_once_deleted_does_not_come_back(
    world, operator_process, tracking, unique, kube, eventually
) -> None:
    first, second, other = f"{unique}-a", f"{unique}-b", f"x{unique}"
    operator_process.environment |= {
        "MLINFRA_IMPORT_NAMESPACE": world.namespace,
        "MLINFRA_IMPORT_MODELS": f"{unique}-*",
    }
    register(tracking, first)
    register(tracking, other)
    set_stage(tracking, first, "1", "Staging")
    operator_process.start()
    await operator_process.ready()
    imported = await world.version_phase(f"{first}-1", "Staging")
    assert "stage" not in imported["spec"]
    assert imported["spec"]["source"] == {"runID": tracking.get_model_version(first, "1").run_id}

    async def remembered() -> bool:
        tag = tracking.get_model_version(first, "1").tags.get(IMPORTED_TAG)
        return bool(tag == f"{world.namespace}/{first}-1")

    await eventually(remembered, "MLflow remembers the import")
    operator_process.kill()
    await kube.delete(MODEL_VERSIONS, f"{first}-1", world.namespace)
    register(tracking, second)
    operator_process.start()
    await world.version_phase(f"{second}-1", "Registered")
    found, _ = await kube.list(MODEL_VERSIONS, world.namespace)
    assert [each["metadata"]["name"] for each in found] == [f"{second}-1"]
    assert tracking.get_model_version(first, "1").current_stage == "Staging"
