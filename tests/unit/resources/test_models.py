"""What the models do on their own; that the API server agrees is an integration test."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from mlinfra.resources import TrainingJob

BUILT_IN: dict[str, Any] = {
    "modelName": "m",
    "model": {"architecture": "mlp"},
    "data": {"featureGroup": "g", "label": "up"},
}


def job(name: str = "a", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": BUILT_IN | spec,
    }


def test_wire_form_round_trips_in_camel_case_without_absent_fields() -> None:
    wire = TrainingJob.model_validate(job(backoffLimit=3)).to_wire()
    assert wire["spec"]["backoffLimit"] == 3
    assert wire["spec"]["training"]["batchSize"] == 64
    assert "image" not in wire["spec"]
    assert TrainingJob.model_validate(wire).to_wire() == wire


def test_models_cannot_be_changed() -> None:
    spec = TrainingJob.model_validate(job()).spec
    with pytest.raises(ValidationError, match="frozen"):
        spec.training.epochs = 1  # type: ignore[misc]  # that it is refused is the point


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"modelName": "a/b"}, "a model name has none of"),
        ({"data": BUILT_IN["data"] | {"features": ["up", "x"]}}, "label must not be one of the features"),
        ({"data": BUILT_IN["data"] | {"startDate": "2020-02-31"}}, "day is out of range"),
        ({"data": None}, "model and data belong together"),
        ({"model": None, "data": None}, "give model and data for the built-in trainer"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, "every volumeMount needs the volume it names"),
        ({"env": [{"name": "MLFLOW_RUN_ID", "value": "1"}]}, "env may not set what the operator sets"),
        ({"volumes": [{"name": "mlinfra-shm", "emptyDir": {}}]}, "may not be named mlinfra-scratch"),
        ({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "duplicate name 'A'"),
        ({"training": {"epochs": -1}}, "greater than or equal to 1"),
        ({"training": {"epoch": 1}}, "Extra inputs are not permitted"),
    ],
)
def test_a_refusal_says_what_is_wrong(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingJob.model_validate(job(**spec))


def test_name_that_leaves_no_room_for_pod_names_is_refused() -> None:
    TrainingJob.model_validate(job("a" * 52))
    with pytest.raises(ValidationError, match="at most 52 characters"):
        TrainingJob.model_validate(job("a" * 53))


def test_resources_import_no_heavy_library() -> None:
    code = "import sys, mlinfra.resources; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "pandas", "numpy", "mlflow", "kopf", "yaml"} & set(loaded.split())
