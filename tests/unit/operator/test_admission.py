"""The admission policy compares each free-form part of a TrainingJob's spec, as the CRD does the rest."""

from collections.abc import Iterator
from typing import Any

from pydantic.alias_generators import to_camel

from mlinfra.local.operator_access import ADMISSION, operator_manifests
from mlinfra.resources.crd import custom_resource_definitions
from mlinfra.resources.training_job import ALWAYS_MUTABLE, INSTEAD_OF_A_CHANGE, MUTABLE_WHILE_SUSPENDED

POLICY = "trainingjob-immutability.mlinfra.io"


def schema_of(kind: str) -> dict[str, Any]:
    """The schema of a resource's spec."""
    definition = next(each for each in custom_resource_definitions() if each["spec"]["names"]["kind"] == kind)
    version = definition["spec"]["versions"][0]
    spec: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


def free_form(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Paths of what holds fields without a schema, such as ``serving.volumes[]``."""
    bare = schema.get("type") == "object" and not {"properties", "additionalProperties"} & schema.keys()
    if bare or "x-kubernetes-preserve-unknown-fields" in schema:
        yield path
        return
    for name, inner in schema.get("properties", {}).items():
        yield from free_form(inner, f"{path}.{name}" if path else name)
    for key, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield from free_form(schema[key], f"{path}{suffix}")


def validation(path: str) -> dict[str, str]:
    field = path.split(".")[0].removesuffix("[]")
    inside = "?" + path.removesuffix("[]").replace(".", ".?")
    new, old = f"object.spec.{inside}", f"oldObject.spec.{inside}"
    same = f"{new} == {old}"
    if path.endswith("[]"):
        new, old = f"{new}.orValue([])", f"{old}.orValue([])"
        same = f"size({new}) == size({old}) && {new}.all(item, item in {old})"
    if field in map(to_camel, MUTABLE_WHILE_SUSPENDED):
        message = f"{field} may change only while suspended: {INSTEAD_OF_A_CHANGE}"
        return {"expression": f"oldObject.spec.suspend || {same}", "message": message}
    return {"expression": same, "message": f"{field} is immutable: {INSTEAD_OF_A_CHANGE}"}


def test_each_free_form_part_of_a_training_job_is_compared() -> None:
    policy = next(each for each in operator_manifests(ADMISSION) if each["metadata"]["name"] == POLICY)
    always = {to_camel(field) for field in ALWAYS_MUTABLE}
    paths = [path for path in free_form(schema_of("TrainingJob")) if path.split(".")[0] not in always]
    assert "securityContext" in paths
    assert policy["spec"]["validations"] == [validation(path) for path in paths]


def test_what_is_immutable_of_a_model_version_has_no_free_form_part() -> None:
    properties = schema_of("ModelVersion")["properties"]
    for field in ("modelName", "version", "source"):
        assert not list(free_form(properties[field]))
