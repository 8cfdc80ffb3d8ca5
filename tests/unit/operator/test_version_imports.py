"""Which versions that were registered outside get a ModelVersion, and what it asks for."""

from typing import Any

import pytest

from mlinfra.resources import ModelVersion
from mlinfra.tracking.contract import IMPORTED_TAG, TRAINING_JOB_UID_TAG
from mlinfra_operator.modelversion.imports import (
    Import,
    ImportScope,
    build_imported,
    plan_imports,
    standing_versions,
)
from mlinfra_operator.tracking import ListedVersion

TEAM = ImportScope("team")
STANDING = {("model", "1"): "by-hand"}


def listed(version: str = "1", **facts: Any) -> ListedVersion:
    known: dict[str, Any] = {"model": "model", "version": version, "owner": None}
    return ListedVersion(**(known | facts))


@pytest.mark.parametrize(
    ("version", "scope", "imported"),
    [
        (listed(), TEAM, True),
        (listed(owner="team"), TEAM, True),
        (listed(owner="other"), TEAM, False),
        (listed(tags={IMPORTED_TAG: "team/model-1"}), TEAM, False),
        (listed(tags={TRAINING_JOB_UID_TAG: "uid"}), TEAM, False),
        (listed(), ImportScope("team", ("model",)), True),
        (listed(model="fraud-eu"), ImportScope("team", ("model", "fraud-*")), True),
        (listed(model="Fraud-eu"), ImportScope("team", ("fraud-*",)), False),
        (listed(), ImportScope("team", ("other",)), False),
    ],
)
def test_a_version_is_imported_once_and_only_where_asked_for(
    version: ListedVersion, scope: ImportScope, imported: bool
) -> None:
    assert plan_imports([version], {}, scope) == ((Import(version),) if imported else ())


def test_what_stands_already_is_remembered_and_versions_come_in_order() -> None:
    versions = [listed("10"), listed("2"), listed("1")]
    planned = plan_imports(versions, STANDING, TEAM)
    assert planned == (Import(listed("1"), "by-hand"), Import(listed("2")), Import(listed("10")))


def test_model_versions_of_other_namespaces_do_not_stand_here() -> None:
    objects = [
        {"metadata": {"name": name, "namespace": namespace}, "spec": {"modelName": "model", "version": "1"}}
        for name, namespace in (("by-hand", "team"), ("elsewhere", "other"))
    ]
    assert standing_versions(objects, "team") == STANDING


@pytest.mark.parametrize("run_id", [None, "run-1"])
def test_an_imported_version_asks_for_no_stage(run_id: str | None) -> None:
    built = build_imported(listed("3", model="My Model", run_id=run_id), "team")
    version = ModelVersion.model_validate(built)
    assert version.metadata.name.startswith("my-model-")
    assert version.metadata.name.endswith("-3")
    assert (version.spec.model_name, version.spec.version, version.spec.stage) == ("My Model", "3", None)
    assert (version.spec.source.run_id if version.spec.source else None) == run_id
    assert version.spec.deletion_policy == "Retain"
