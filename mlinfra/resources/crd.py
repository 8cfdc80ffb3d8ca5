"""CustomResourceDefinitions from the pydantic models: ``python -m mlinfra.resources.crd [--check] crds/``.

pydantic writes JSON Schema (2020-12); a CRD wants a structural schema of OpenAPI 3.0: no references,
no ``null`` type, booleans for exclusive bounds. A keyword this module does not know is an error, so that
no rule of a model is lost silently on its way to the API server.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlinfra.resources.base import CATEGORY, GROUP, VERSION, ResourceModel
from mlinfra.resources.model_version import ModelVersion
from mlinfra.resources.retraining_policy import RetrainingPolicy
from mlinfra.resources.training_job import TrainingJob

Schema = dict[str, Any]

HEADER = "# Generated from mlinfra/resources by `make crds`; do not edit.\n"
INT32_MAX = 2**31 - 1
QUOTE = '"'

TYPE_META: Schema = {
    "apiVersion": {"type": "string", "description": "Version of this representation: mlinfra.io/v1alpha1."},
    "kind": {"type": "string", "description": "Kind of this object."},
    "metadata": {"type": "object"},
}

COPIED_KEYWORDS = frozenset(
    {
        "type", "format", "description", "enum", "required", "pattern", "minLength", "maxLength",
        "minItems", "maxItems", "minProperties", "maxProperties", "minimum", "maximum",
    }
)  # fmt: skip
RENAMED_KEYWORDS = {"ge": "minimum", "le": "maximum"}
"""pydantic leaves bounds on a type with a validator of its own under its own names."""


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """A column of ``kubectl get``; with ``wide`` only of ``-o wide``."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False

    def definition(self) -> Schema:
        column: Schema = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return column | {"priority": 1} if self.wide else column


@dataclass(frozen=True, slots=True)
class CustomResource:
    """What a CRD says beyond the schema of its model."""

    model: type[ResourceModel]
    plural: str
    short_name: str
    columns: tuple[PrinterColumn, ...]
    selectable_fields: tuple[str, ...] = field(default=(".spec.modelName",))


AGE = PrinterColumn("Age", ".metadata.creationTimestamp", "date")

CUSTOM_RESOURCES = (
    CustomResource(
        TrainingJob,
        "trainingjobs",
        "mltj",
        (
            PrinterColumn("Phase", ".status.phase"),
            PrinterColumn("Model", ".spec.modelName"),
            PrinterColumn("Progress%", ".status.trainerStatus.progressPercentage", "integer"),
            PrinterColumn("Accuracy", '.status.trainerStatus.metrics[?(@.name=="test_accuracy")].value'),
            AGE,
            PrinterColumn(
                "Val Accuracy",
                '.status.trainerStatus.metrics[?(@.name=="val_accuracy")].value',
                wide=True,
            ),
            PrinterColumn("GPUs", ".status.gpus", "integer", wide=True),
            PrinterColumn("Attempts", ".status.attempts", "integer", wide=True),
            PrinterColumn("Reason", '.status.conditions[?(@.type=="Ready")].reason', wide=True),
            PrinterColumn("Run ID", ".status.mlflow.runID", wide=True),
        ),
    ),
    CustomResource(
        ModelVersion,
        "modelversions",
        "mlmv",
        (
            PrinterColumn("Model", ".spec.modelName"),
            PrinterColumn("Version", ".spec.version"),
            PrinterColumn("Stage", ".status.stage"),
            PrinterColumn("Phase", ".status.phase"),
            PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            PrinterColumn("Accuracy", '.status.metrics[?(@.name=="test_accuracy")].value'),
            AGE,
            PrinterColumn("Serving", '.status.conditions[?(@.type=="Serving")].status', wide=True),
            PrinterColumn("Canary", ".status.canary.percent", "integer", wide=True),
            PrinterColumn("Endpoint", ".status.endpoint", wide=True),
            PrinterColumn("Aliases", ".status.aliases", wide=True),
            PrinterColumn("Reason", '.status.conditions[?(@.type=="Ready")].reason', wide=True),
            PrinterColumn("Run ID", ".spec.source.runID", wide=True),
        ),
    ),
    CustomResource(
        RetrainingPolicy,
        "retrainingpolicies",
        "mlrp",
        (
            PrinterColumn("Phase", ".status.phase"),
            PrinterColumn("Model", ".spec.modelName"),
            PrinterColumn("Schedule", ".spec.schedule"),
            PrinterColumn("Suspend", ".spec.suspend", "boolean"),
            PrinterColumn("Last Training", ".status.lastTrainingTime", "date"),
            # Not of type date: kubectl shows no age of a time to come.
            PrinterColumn("Next", ".status.nextScheduledTime"),
            AGE,
            PrinterColumn("Time Zone", ".spec.timeZone", wide=True),
            PrinterColumn("Active", ".status.active[*].name", wide=True),
            PrinterColumn("Reason", '.status.conditions[?(@.type=="Ready")].reason', wide=True),
        ),
    ),
)


def custom_resource_definitions() -> list[Schema]:
    """The three CustomResourceDefinitions, as ``kubectl apply`` takes them."""
    return [custom_resource_definition(resource) for resource in CUSTOM_RESOURCES]


def custom_resource_definition(resource: CustomResource) -> Schema:
    """The CustomResourceDefinition of one resource."""
    kind = resource.model.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": resource.plural,
                "singular": kind.lower(),
                "shortNames": [resource.short_name],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [column.definition() for column in resource.columns],
                    "selectableFields": [{"jsonPath": path} for path in resource.selectable_fields],
                    "schema": {"openAPIV3Schema": root_schema(resource.model)},
                }
            ],
        },
    }


def root_schema(model: type[ResourceModel]) -> Schema:
    """The structural schema of a whole resource; type and metadata are the API server's own."""
    schema = structural_schema(model.model_json_schema())
    schema["properties"] = TYPE_META | {name: schema["properties"][name] for name in ("spec", "status")}
    schema["required"] = ["spec"]
    return schema


def structural_schema(json_schema: Schema) -> Schema:
    """The structural schema that accepts what ``json_schema`` of pydantic accepts.

    Raises:
        ValueError: the schema holds a keyword that has no place in a structural schema.
    """
    return _convert(json_schema, json_schema.get("$defs", {}), path="")


def _convert(source: Schema, definitions: dict[str, Schema], *, path: str) -> Schema:
    result: Schema = {}
    for keyword, value in _flattened(source, definitions).items():
        match keyword:
            case "$defs" | "title":
                pass
            case "description":
                result["description"] = value.replace("``", "")
            case "properties":
                result["properties"] = {
                    name: _convert(each, definitions, path=f"{path}.{name}") for name, each in value.items()
                }
            case "items":
                result["items"] = _convert(value, definitions, path=f"{path}[]")
            case "additionalProperties":
                if isinstance(value, dict):
                    result["additionalProperties"] = _convert(value, definitions, path=f"{path}{{}}")
            case "anyOf" if source.get("x-kubernetes-int-or-string"):
                result["anyOf"] = value
            case "exclusiveMinimum":
                result |= {"minimum": value, "exclusiveMinimum": True}
            case "exclusiveMaximum":
                result |= {"maximum": value, "exclusiveMaximum": True}
            case "const":
                result["enum"] = [value]
            case "default":
                result["default"] = value
            case _ if keyword in COPIED_KEYWORDS or keyword.startswith("x-kubernetes-"):
                result[keyword] = value
            case _ if keyword in RENAMED_KEYWORDS:
                result[RENAMED_KEYWORDS[keyword]] = value
            case _:
                raise ValueError(f"{path or 'root'}: a structural schema cannot say {keyword!r}: {value!r}")
    return _with_bounds_told(_with_number_format(_with_entries_counted(_with_plain_default(result))))


def _flattened(source: Schema, definitions: dict[str, Schema]) -> Schema:
    """The schema without references and without ``null``; keywords beside them win."""
    if "$ref" in source:
        target = definitions[source["$ref"].removeprefix("#/$defs/")]
        beside = {keyword: value for keyword, value in source.items() if keyword != "$ref"}
        return _flattened(target | beside, definitions)
    options = [option for option in source.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        beside = {keyword: value for keyword, value in source.items() if keyword != "anyOf"}
        return _flattened(options[0] | beside, definitions)
    return source


def _with_plain_default(schema: Schema) -> Schema:
    """With what is absent left out of the default, since ``null`` and ``[]`` say no more."""
    if "default" not in schema:
        return schema
    default = schema.pop("default")
    if isinstance(default, dict):
        default = {name: value for name, value in default.items() if value not in (None, [])}
    return schema if default in (None, []) else schema | {"default": default}


def _with_entries_counted(schema: Schema) -> Schema:
    """pydantic names the bound of an optional map as that of a string, which the API server ignores."""
    if schema.get("type") == "object" and "maxLength" in schema:
        return schema | {"maxProperties": schema.pop("maxLength")}
    return schema


def _with_number_format(schema: Schema) -> Schema:
    if schema.get("type") == "integer":
        fits = schema.get("minimum", -INT32_MAX) >= -INT32_MAX and schema.get("maximum", 2**63) <= INT32_MAX
        return schema | {"format": "int32" if fits else "int64"}
    if schema.get("type") == "number":
        return schema | {"format": "double"}
    return schema


def _with_bounds_told(schema: Schema) -> Schema:
    """With default and bounds in the description: ``kubectl explain`` shows nothing else of them."""
    sentence = bounds_told(schema)
    if "description" not in schema or sentence in ("", "At least 0."):
        return schema
    return schema | {"description": f"{schema['description']} {sentence}"}


def bounds_told(schema: Schema) -> str:
    """Default and bounds of a number or a word in one sentence; empty where there are none."""
    told = bounds_of(schema)
    if schema.get("default", "") != "" and not isinstance(schema["default"], dict):
        told.insert(0, f"Default {json.dumps(schema['default']).strip(QUOTE)}")
    sentence = ", ".join(told)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def bounds_of(schema: Schema) -> list[str]:
    """The bounds of a number in words."""
    told = []
    if "minimum" in schema:
        told.append(f"{'above' if schema.get('exclusiveMinimum') else 'at least'} {schema['minimum']:g}")
    if schema.get("maximum", INT32_MAX) < INT32_MAX:
        told.append(f"{'below' if schema.get('exclusiveMaximum') else 'at most'} {schema['maximum']:.0f}")
    return told


class _PlainDumper(yaml.SafeDumper):
    """Writes a repeated value again instead of an alias of it."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def manifests() -> dict[str, str]:
    """The files of ``crds/``: name to text."""
    return {
        f"{definition['metadata']['name']}.yaml": HEADER
        + yaml.dump(definition, Dumper=_PlainDumper, sort_keys=False, width=110, allow_unicode=True)
        for definition in custom_resource_definitions()
    }


def differences(folder: Path) -> list[str]:
    """One line for each file of the folder that is missing, stale, or not ours."""
    wanted = manifests()
    found = {path.name: path.read_text() for path in folder.glob("*.yaml")} if folder.is_dir() else {}
    return [
        *(f"{folder / name} is missing" for name in wanted if name not in found),
        *(f"{folder / name} is stale" for name in wanted if name in found and found[name] != wanted[name]),
        *(f"{folder / name} is not generated" for name in found if name not in wanted),
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mlinfra.resources.crd", description="Write the CustomResourceDefinitions."
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a file is not current"
    )
    parser.add_argument("folder", type=Path, help="the folder of the files, crds/")
    options = parser.parse_args(arguments)
    if options.check:
        found = differences(options.folder)
        for line in found:
            print(line, file=sys.stderr)
        if found:
            print("Run `make crds` and commit the result.", file=sys.stderr)
        return 1 if found else 0
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, text in manifests().items():
        (options.folder / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
