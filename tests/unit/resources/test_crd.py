"""The generated CRDs: current, documented in full, and structural."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlinfra.kube.resource import KNOWN_TYPES
from mlinfra.resources.crd import (
    custom_resource_definitions,
    differences,
    main,
    manifests,
    structural_schema,
)

REPOSITORY = Path(__file__).parents[3]
DEFINITIONS = custom_resource_definitions()
FREE_FORM = (".parameters", ".affinity", ".podSecurityContext", ".securityContext")


def schema_of(definition: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def properties_of(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, each in schema.get("properties", {}).items():
        yield f"{path}.{name}", each
        yield from properties_of(each, f"{path}.{name}")
    if "items" in schema:
        yield from properties_of(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from properties_of(schema["additionalProperties"], f"{path}{{}}")


def trainingjob(path: str) -> dict[str, Any]:
    [definition] = [each for each in DEFINITIONS if each["spec"]["names"]["kind"] == "TrainingJob"]
    return dict(properties_of(schema_of(definition)))[path]


def test_the_files_in_crds_are_current() -> None:
    assert differences(REPOSITORY / "crds") == []


def test_check_names_missing_stale_and_foreign_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(tmp_path)])
    stale, missing, _ = sorted(manifests())
    (tmp_path / stale).write_text("spec: {}\n")
    (tmp_path / missing).unlink()
    (tmp_path / "other.yaml").write_text("kind: Secret\n")
    assert main(["--check", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    for line in (f"{missing} is missing", f"{stale} is stale", "other.yaml is not generated", "make crds"):
        assert line in told


def test_what_was_just_written_passes_the_check(tmp_path: Path) -> None:
    assert main([str(tmp_path / "crds")]) == 0
    assert main(["--check", str(tmp_path / "crds")]) == 0


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each["spec"]["names"]["kind"])
def test_every_field_has_a_description(definition: dict[str, Any]) -> None:
    fields = {path: each for path, each in properties_of(schema_of(definition)) if path != ".metadata"}
    assert len(fields) > 30
    assert [path for path, each in fields.items() if len(each.get("description", "")) < 5] == []


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each["spec"]["names"]["kind"])
def test_fields_are_bounded_by_the_schema_alone(definition: dict[str, Any]) -> None:
    """Unknown fields survive only where a model says so, and every list and map has a bound."""
    for path, each in properties_of(schema_of(definition)):
        if each.get("x-kubernetes-preserve-unknown-fields"):
            assert path.endswith(FREE_FORM), path
        if each.get("type") == "array":
            assert "maxItems" in each, path
            assert "x-kubernetes-list-type" in each, path
        if "additionalProperties" in each:
            assert "maxProperties" in each, path
            assert "maxLength" not in each, path


def test_names_agree_with_the_addresses_that_the_client_uses() -> None:
    named = {(each["spec"]["names"]["kind"], each["spec"]["names"]["plural"]) for each in DEFINITIONS}
    assert named == {(known.kind, known.plural) for known in KNOWN_TYPES if known.group == "mlinfra.io"}


def test_short_names_are_our_own_and_the_category_is_shared() -> None:
    names = [each["spec"]["names"] for each in DEFINITIONS]
    assert [each["shortNames"] for each in names] == [["mltj"], ["mlmv"], ["mlrp"]]
    assert [each["categories"] for each in names] == [["mlinfra"]] * 3


def test_an_exclusive_bound_becomes_a_boolean_beside_it() -> None:
    learning_rate = trainingjob(".spec.training.learningRate")
    assert learning_rate["minimum"] == 0
    assert learning_rate["exclusiveMinimum"] is True
    assert learning_rate["maximum"] == 10
    assert learning_rate["format"] == "double"


def test_an_optional_field_is_its_plain_type() -> None:
    deadline = trainingjob(".spec.activeDeadlineSeconds")
    assert deadline == {
        "type": "integer",
        "format": "int32",
        "minimum": 1,
        "maximum": 2147483647,
        "description": "Seconds after its start when the training is stopped. At least 1.",
    }


def test_an_absent_object_gets_the_defaults_of_its_fields() -> None:
    training = trainingjob(".spec.training")
    assert training["default"]["epochs"] == training["properties"]["epochs"]["default"] == 50


def test_defaults_and_bounds_stand_in_the_description() -> None:
    assert trainingjob(".spec.training.epochs")["description"].endswith(
        "Default 50, at least 1, at most 100000."
    )
    assert trainingjob(".spec.training.optimizer")["description"].endswith("Default AdamW.")


def test_lists_of_named_things_are_maps() -> None:
    env = trainingjob(".spec.env")
    assert (env["x-kubernetes-list-type"], env["x-kubernetes-list-map-keys"]) == ("map", ["name"])
    mounts = trainingjob(".spec.volumeMounts")
    assert mounts["x-kubernetes-list-map-keys"] == ["mountPath"]


def test_a_keyword_that_a_structural_schema_lacks_is_an_error() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "contentEncoding": "base64"}}}
    with pytest.raises(ValueError, match=r"\.a: a structural schema cannot say 'contentEncoding'"):
        structural_schema(schema)
