"""A training's configuration in YAML: a TrainingJob, or its spec alone, read as ``kubectl apply`` reads it.

A RetrainingPolicy that a backtest tries is read in the same way.

The same file trains on this machine and on Kubernetes. What is said besides it, such as flags of a command,
is laid over it, and all of it is checked by the very models that the API server's schema comes from.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from mlinfra.errors import suggestion
from mlinfra.resources.base import API_VERSION, ResourceModel
from mlinfra.resources.training_job import MAX_NAME_LENGTH, TrainingJob, TrainingJobSpec
from mlinfra.training.config import InvalidConfigError

KIND = "TrainingJob"
TIMESTAMP_TAG = "tag:yaml.org,2002:timestamp"
FLOAT_TAG = "tag:yaml.org,2002:float"
FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")

Place = tuple[str | int, ...]
"""Where a value is, such as ``("training", "epochs")``; an item of a list by its number."""


class KubectlLoader(yaml.SafeLoader):
    """Reads YAML as kubectl does: ``1999-01-01`` is a text, ``1e-4`` a number, no key is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping's keys and values; a key that is there twice is an error."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key.start_mark)
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f'the key "{key.value}" is there twice', key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


KubectlLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (TIMESTAMP_TAG, FLOAT_TAG)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
KubectlLoader.add_implicit_resolver(FLOAT_TAG, FLOAT, list("-+.0123456789"))


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says, unchecked.

    Attributes:
        path: the file.
        spec: the resource's spec, or as much of it as the file has.
        lines: line of each value of the spec.
        metadata: the resource's metadata; empty where the file is a spec alone.
    """

    path: Path
    spec: Mapping[str, Any]
    lines: Mapping[Place, int]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """A value that is laid over the file's.

    Attributes:
        path: the field of the spec.
        value: its value; None takes the field away.
        origin: what says so, such as ``--epochs``; the beginning of an error message.
    """

    path: tuple[str, ...]
    value: Any
    origin: str


def read_config_file(path: Path, resource: type[ResourceModel] = TrainingJob) -> ConfigFile:
    """Read a resource's manifest, or a spec without one.

    Of several documents the one of that kind counts.

    Raises:
        InvalidConfigError: the file cannot be read, is no YAML, or holds no such resource.
    """
    try:
        documents = list(_documents(path.read_text(encoding="utf-8")))
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InvalidConfigError(f"{path}{where}: {error.problem or error.context}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidConfigError(f"{path} is not YAML in UTF-8: {error}.") from error
    except OSError as error:
        raise InvalidConfigError(f"{path} cannot be read: {error.strerror}.") from error
    content, lines = _the_resource(path, documents, resource.__name__)
    if not _is_manifest(content):
        return ConfigFile(path, content, lines)
    _check_manifest(path, content, lines, resource)
    spec_lines = {place[1:]: line for place, line in lines.items() if place[0] == "spec"}
    return ConfigFile(path, content["spec"], spec_lines, content.get("metadata") or {})


def effective_spec(
    file: ConfigFile | None, changes: Sequence[Change], defaults: Mapping[str, Any] | None = None
) -> TrainingJobSpec:
    """The spec that defaults, file and changes amount to, each over the one before.

    Raises:
        InvalidConfigError: an unknown key, or a value out of bounds; a line each, with file and line or the
            change's origin.
    """
    spec = merged(defaults or {}, file.spec if file else {})
    for change in changes:
        spec = merged(spec, nested(change.path, change.value))
    try:
        return TrainingJobSpec.model_validate(spec, by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidConfigError("\n".join(mistakes(error, TrainingJobSpec, file, changes))) from error


def mistakes(
    error: ValidationError,
    model: type[ResourceModel],
    file: ConfigFile | None,
    changes: Sequence[Change] = (),
) -> Iterator[str]:
    """What is wrong in a spec of the model, a line each, with file and line or the change's origin."""
    for each in error.errors():
        path = tuple(each["loc"])
        place = ".".join(str(key) for key in path)
        if each["type"] == "extra_forbidden":
            what = _unknown(model, path)
        elif each["type"] == "missing":
            what = f"{place} is missing."
        else:
            got = f", got {each['input']!r}" if isinstance(each["input"], str | int | float) else ""
            told = each["msg"].removeprefix("Value error, ")
            what = f"{place}: {told}{got}." if place else f"{told}."
        yield f"{_origin(path, file, changes)}{what}"


def manifest(spec: TrainingJobSpec, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The TrainingJob that trains the same on Kubernetes; its name comes from the model where it has none."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": resource_name(spec.model_name), **(metadata or {})},
        "spec": spec.to_wire(),
    }


def resource_name(model_name: str) -> str:
    """A name that Kubernetes takes for a TrainingJob of this model."""
    words = re.findall(r"[a-z0-9]+", model_name.lower())
    return "-".join(words)[:MAX_NAME_LENGTH].strip("-") or "training"


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two mappings as one: where both have a key the upper counts, mappings are merged in turn."""
    result = dict(below)
    for key, value in above.items():
        lower = result.get(key)
        if isinstance(lower, Mapping) and isinstance(value, Mapping):
            result[key] = merged(lower, value)
        else:
            result[key] = value
    return result


def nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    """A value in the mappings that lead to it."""
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def fields_at(model: type[BaseModel], path: Sequence[str | int]) -> dict[str, FieldInfo]:
    """The fields, by their names in YAML, of the model that lies at a path below another; none at a leaf."""
    found: type[BaseModel] | None = model
    for key in path:
        if isinstance(key, int):
            continue
        fields = _fields(found) if found else {}
        found = _model_in(fields[key].annotation) if key in fields else None
    return _fields(found) if found else {}


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each))), None)


def _documents(text: str) -> Iterator[tuple[Any, dict[Place, int]]]:
    loader = KubectlLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            lines = dict(_lines(node, (), set()))
            yield loader.construct_document(node), lines
    finally:
        loader.dispose()


def _lines(node: yaml.Node | None, path: Place, seen: set[int]) -> Iterator[tuple[Place, int]]:
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, str(key.value)), key.start_mark.line + 1
            yield from _lines(value, (*path, str(key.value)), seen)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield (*path, number), item.start_mark.line + 1
            yield from _lines(item, (*path, number), seen)


def _is_manifest(content: Mapping[str, Any]) -> bool:
    return "kind" in content or "apiVersion" in content


def _the_resource(
    path: Path, documents: list[tuple[Any, dict[Place, int]]], kind: str
) -> tuple[dict[str, Any], dict[Place, int]]:
    documents = [document for document in documents if document[0] is not None]
    if len(documents) > 1:
        of_kind = [each for each in documents if isinstance(each[0], dict) and each[0].get("kind") == kind]
        if len(of_kind) != 1:
            raise InvalidConfigError(
                f"{path} holds {len(documents)} documents, {len(of_kind)} of them a {kind}: keep exactly one."
            )
        documents = of_kind
    if not documents or not isinstance(documents[0][0], dict):
        raise InvalidConfigError(f"{path} holds no configuration: write a {kind}, or the keys of its spec.")
    return documents[0]


def _check_manifest(
    path: Path, content: Mapping[str, Any], lines: Mapping[Place, int], resource: type[ResourceModel]
) -> None:
    for key, expected in (("apiVersion", API_VERSION), ("kind", resource.__name__)):
        if content.get(key) != expected:
            where = f", line {lines[(key,)]}" if (key,) in lines else ""
            raise InvalidConfigError(f"{path}{where}: {key} must be {expected}, got {content.get(key)!r}.")
    known = _fields(resource)
    for key in content:
        if key not in known:
            raise InvalidConfigError(f"{path}, line {lines[(key,)]}: {_unknown(resource, (key,))}")
    if not isinstance(content.get("metadata") or {}, dict):
        raise InvalidConfigError(f"{path}, line {lines[('metadata',)]}: metadata must be a mapping.")
    if not isinstance(content.get("spec"), dict):
        raise InvalidConfigError(f"{path}: the {resource.__name__} has no spec.")


def _origin(path: Place, file: ConfigFile | None, changes: Sequence[Change]) -> str:
    """Who said what is wrong at a path: a change there, else the file, else a change of what is beside it."""
    for change in reversed(changes):
        if path[: len(change.path)] == change.path:
            return f"{change.origin}: "
    lines = file.lines if file else {}
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return f"{file.path}, line {lines[path[:length]]}: " if file else ""
    for change in reversed(changes):
        if (len(path) > 1 and change.path[: len(path) - 1] == path[:-1]) or change.path[: len(path)] == path:
            return f"{change.origin}: "
    return f"{file.path}: " if file else ""


def _unknown(model: type[ResourceModel], path: Place) -> str:
    """What to say of a key that the model does not have."""
    name = str(path[-1])
    known = fields_at(model, path[:-1])
    place = ".".join(str(key) for key in path)
    below = [key for key in known if name in fields_at(model, (*path[:-1], key))]
    if below:
        return f'unknown key "{place}"; did you mean {".".join([*map(str, path[:-1]), below[0], name])}?'
    return f'unknown key "{place}"; {suggestion(name, known)}.'
