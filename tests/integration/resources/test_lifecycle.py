"""What the API server keeps: immutable specs, files applied again, printer columns, explained fields."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlinfra.kube.resource import MODEL_VERSIONS, TRAINING_JOBS

EXAMPLE = Path(__file__).parents[3] / "examples" / "trainingjob.yaml"


@pytest.fixture
def name(api: Any) -> Iterator[str]:
    name = f"lifecycle-{uuid.uuid4().hex[:8]}"
    yield name
    for resource in (TRAINING_JOBS, MODEL_VERSIONS):
        api.delete(resource, name)


def training_job(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "modelName": "m",
            "model": {"architecture": "mlp", "parameters": {"hidden": [32, {"deep": 1}]}},
            "data": {"featureGroup": "g", "label": "up"},
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
        }
        | spec,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"modelName": "n"},
        {"image": "i"},
        {"training": {"epochs": 51}},
        {"model": {"parameters": {"hidden": [32, {"deep": 2}]}}},
        {"model": {"parameters": None}},
        {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "2Gi"}}]},
    ],
    ids=str,
)
def test_a_changed_spec_is_refused(api: Any, name: str, change: dict[str, Any]) -> None:
    assert api.apply(training_job(name)).status_code == 201
    answer = api.patch(TRAINING_JOBS, name, {"spec": change})
    assert answer.status_code == 422
    assert f"{next(iter(change))} is immutable: delete the TrainingJob" in answer.json()["message"]


def test_what_schedules_the_pods_may_change_only_while_suspended(api: Any, name: str) -> None:
    changes = {
        "resourcesPerNode": {"limits": {"cpu": "2"}},
        "nodeSelector": {"zone": "a"},
        "tolerations": [{"key": "gpu"}],
        "affinity": {"nodeAffinity": {}},
        "backoffLimit": 5,
        "activeDeadlineSeconds": 60,
    }
    assert api.apply(training_job(name)).status_code == 201
    for field, value in changes.items():
        answer = api.patch(TRAINING_JOBS, name, {"spec": {field: value}})
        assert answer.status_code == 422
        assert f"{field} may change only while suspended" in answer.json()["message"]
    assert api.patch(TRAINING_JOBS, name, {"spec": {"suspend": True}}).status_code == 200
    assert api.patch(TRAINING_JOBS, name, {"spec": changes}).status_code == 200
    refused = api.patch(TRAINING_JOBS, name, {"spec": {"image": "other"}})
    assert refused.status_code == 422
    # Both at once is what a file in Git does that resumes with a larger machine.
    both = {"suspend": False, "nodeSelector": {"zone": "b"}}
    assert api.patch(TRAINING_JOBS, name, {"spec": both}).status_code == 200


def test_the_time_to_live_may_always_change(api: Any, name: str) -> None:
    assert api.apply(training_job(name)).status_code == 201
    for value in (60, 0, None):
        answer = api.patch(TRAINING_JOBS, name, {"spec": {"ttlSecondsAfterFinished": value}})
        assert answer.status_code == 200


def test_metadata_and_status_change_while_the_spec_stays(api: Any, name: str) -> None:
    created = api.apply(training_job(name)).json()
    assert api.patch(TRAINING_JOBS, name, {"metadata": {"labels": {"a": "b"}}}).status_code == 200
    status = {"status": {"phase": "Running"}}
    patched = api.patch(TRAINING_JOBS, name, status, subresource="status").json()
    assert patched["metadata"]["generation"] == created["metadata"]["generation"] == 1
    assert patched["status"]["phase"] == "Running"


@pytest.mark.parametrize(
    "manifest", [training_job("x"), yaml.safe_load(EXAMPLE.read_text())], ids=["all", "example"]
)
def test_applying_the_same_file_again_changes_nothing(api: Any, name: str, manifest: dict[str, Any]) -> None:
    renamed = manifest | {"metadata": {"name": name}}
    first = api.apply(renamed)
    again = api.apply(renamed)
    assert (first.status_code, again.status_code) == (201, 200)
    for field in ("generation", "resourceVersion", "uid"):
        assert first.json()["metadata"][field] == again.json()["metadata"][field]


def test_status_written_through_the_resource_itself_is_ignored(api: Any, name: str) -> None:
    api.apply(training_job(name))
    patched = api.patch(TRAINING_JOBS, name, {"status": {"phase": "Succeeded"}}).json()
    assert "status" not in patched


def test_columns_of_a_training_job(api: Any, name: str) -> None:
    api.apply(training_job(name))
    status = {
        "phase": "Running",
        "attempts": 2,
        "gpus": 8,
        "mlflow": {"runID": "r1", "experimentID": "1"},
        "trainerStatus": {
            "progressPercentage": 40,
            "metrics": [
                {"name": "val_accuracy", "value": "0.81"},
                {"name": "test_accuracy", "value": "0.853"},
            ],
        },
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "Training",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }
    assert api.patch(TRAINING_JOBS, name, {"status": status}, subresource="status").status_code == 200
    row = api.table(TRAINING_JOBS, name)
    shown = {column: row[column] for column in row if column not in ("Name", "Age")}
    assert shown == {
        "Phase": "Running",
        "Model": "m",
        "Progress%": 40,
        "Accuracy": "0.853",
        "Val Accuracy": "0.81",
        "GPUs": 8,
        "Attempts": 2,
        "Reason": "Training",
        "Run ID": "r1",
    }


def test_columns_of_a_model_version(api: Any, name: str) -> None:
    manifest = {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": name},
        "spec": {"modelName": "m", "version": "3", "stage": "Production", "source": {"runID": "r1"}},
    }
    assert api.apply(manifest).status_code == 201
    status = {"stage": "Production", "phase": "Production", "aliases": ["production"]}
    api.patch(MODEL_VERSIONS, name, {"status": status}, subresource="status")
    row = api.table(MODEL_VERSIONS, name)
    shown = {column: row[column] for column in ("Model", "Version", "Stage", "Phase", "Aliases", "Run ID")}
    assert shown == {
        "Model": "m",
        "Version": "3",
        "Stage": "Production",
        "Phase": "Production",
        "Aliases": '["production"]',
        "Run ID": "r1",
    }


@pytest.mark.parametrize(
    "change", [{"modelName": "n"}, {"version": "4"}, {"source": None}, {"source": {"runID": "r2"}}], ids=str
)
def test_identity_of_a_model_version_is_immutable_and_its_stage_is_not(
    api: Any, name: str, change: dict[str, Any]
) -> None:
    manifest = {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": name},
        "spec": {"modelName": "m", "version": "3", "stage": "Production", "source": {"runID": "r1"}},
    }
    assert api.apply(manifest).status_code == 201
    assert api.patch(MODEL_VERSIONS, name, {"spec": {"stage": "Archived"}}).status_code == 200
    answer = api.patch(MODEL_VERSIONS, name, {"spec": change})
    assert answer.status_code == 422
    assert "immutable" in answer.json()["message"]


def test_the_published_schema_explains_nested_fields(api: Any) -> None:
    """What ``kubectl explain trainingjob.spec.data.startDate`` reads."""
    published = api.http.get("/openapi/v3/apis/mlinfra.io/v1alpha1").json()
    schema = published["components"]["schemas"]["io.mlinfra.v1alpha1.TrainingJob"]
    start_date = schema["properties"]["spec"]["properties"]["data"]["properties"]["startDate"]
    assert start_date["description"] == "First date of the data, YYYY-MM-DD."
