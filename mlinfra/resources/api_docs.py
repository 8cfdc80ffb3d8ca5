"""The reference page of the three resources: ``python -m mlinfra.resources.api_docs [--check] docs/api.md``.

It is written from the schemas of the CRDs, so it says what the API server does. An object that several
places hold has one table; the places after the first link to it.
"""

import argparse
import json
import re
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlinfra.resources.base import API_VERSION
from mlinfra.resources.crd import (
    CUSTOM_RESOURCES,
    CustomResource,
    Schema,
    bounds_of,
    bounds_told,
    root_schema,
)

TITLE = f"""# API reference: {API_VERSION}

Generated from `mlinfra/resources` by `python -m mlinfra.resources.api_docs docs/api.md`; do not edit.
`kubectl explain trainingjob.spec --recursive` shows the same of the cluster that you use.

*Change* says whether a field may be changed once the object exists: *yes*, *no*, *suspended* (only while
`spec.suspend` is true), or *operator* (status: only the operator writes it). A field without a default that
is not required may be absent.
"""
TABLE_HEAD = ("Field", "Type", "Default", "Required", "Change", "Description")

SAME = re.compile(r"\bself((?:\.\w+)+) == oldSelf\1(?!\w|\.)")
"""In a rule: a field that has to stay as it was."""
UNCHANGED = re.compile(r"^self((?:\.\w+)*) == oldSelf\1 \|\| \($")
"""The first line of a rule whose further lines tell of one field each: nothing else is judged."""
WHILE_SUSPENDED = "|| oldSelf.spec.suspend"
CHANGE_IN_WORDS = {
    "yes": "where it may change at any time",
    "no": "where it may not change",
    "suspended": "where it may change only while suspended",
    "operator": "where the operator writes it",
}
TELLING = ("description", "default")
"""What a field says of the object that it holds; the object is the same without."""


@dataclass(slots=True)
class Section:
    """One object of the schema, and the places that hold it.

    Attributes:
        path: first place, such as ``TrainingJob.spec.env[]``.
        schema: of the object.
        change: whether what is at the first place may change, one of `CHANGE_IN_WORDS`.
        changes: the same of the fields that rules hold fast, by path.
        others: further places, each with the same.
    """

    path: str
    schema: Schema
    change: str
    changes: dict[str, str]
    others: list[tuple[str, str]] = field(default_factory=list)

    @property
    def link(self) -> str:
        """The link to the section, as GitHub names headings."""
        anchor = re.sub(r"[^a-z0-9 _-]", "", self.path.lower())
        return f"[{self.path.rpartition('.')[2].rstrip('[]{}')}](#{anchor})"

    def change_of(self, path: str) -> str:
        """Whether the field at a path may change."""
        return self.changes.get(path, self.change)


def page() -> str:
    """The whole page, in Markdown."""
    known: dict[str, Section] = {}
    roots = [(resource, root_schema(resource.model)) for resource in CUSTOM_RESOURCES]
    # All sections first: only then each of them knows all its places.
    sections = [list(_sections_of(resource, root, known)) for resource, root in roots]
    parts = [TITLE]
    for (resource, root), own in zip(roots, sections, strict=True):
        parts.append(_heading_of(resource, root))
        parts += [_rendered(section, known) for section in own]
    return "\n".join(parts)


def transitions(schema: Schema, path: str) -> dict[str, str]:
    """Which fields the rules of one object hold fast: path to ``no`` or ``suspended``.

    Raises:
        ValueError: a rule compares with the old object in a way that this module cannot tell.
    """
    found: dict[str, str] = {}
    for clause in _clauses(schema):
        names = SAME.findall(clause)
        if not names:
            raise ValueError(f"{path}: cannot tell which field may not change by {clause!r}")
        change = "suspended" if WHILE_SUSPENDED in clause else "no"
        found |= {f"{path}{name}": change for name in names}
    return found


def _clauses(schema: Schema) -> Iterator[str]:
    """What the rules of one schema ask of the old object, each part of them alone."""
    for rule in _rules(schema, old=True):
        first, *rest = rule["rule"].split("\n")
        yield from (line for line in rest if "oldSelf" in line) if UNCHANGED.match(first) else (rule["rule"],)


def _rules(schema: Schema, *, old: bool) -> list[dict[str, str]]:
    """The rules of one schema: those that compare with the old object, or the others."""
    rules = schema.get("x-kubernetes-validations", ())
    return [rule for rule in rules if ("oldSelf" in rule["rule"]) == old]


def _sections_of(resource: CustomResource, root: Schema, known: dict[str, Section]) -> Iterator[Section]:
    """The objects of a resource that no section tells of yet, the least deep first."""
    kind = resource.model.__name__
    changes = transitions(root, kind)
    places = deque(
        (f"{kind}.{name}", root["properties"][name], change)
        for name, change in (("spec", "yes"), ("status", "operator"))
    )
    while places:
        path, schema, change = places.popleft()
        if "properties" in schema:
            section = known.get(_identity(schema))
            if section is not None:
                section.others.append((path, change))
                continue
            changes |= transitions(schema, path)
            section = known[_identity(schema)] = Section(path, schema, change, changes)
            yield section
        for suffix, child in _children(schema):
            below = f"{path}{suffix}"
            places.append((below, child, changes.get(below, change)))


def _children(schema: Schema) -> Iterator[tuple[str, Schema]]:
    for name, child in schema.get("properties", {}).items():
        yield f".{name}", child
    if "items" in schema:
        yield "[]", schema["items"]
    if "additionalProperties" in schema:
        yield "{}", schema["additionalProperties"]


def _identity(schema: Schema) -> str:
    return json.dumps({key: value for key, value in schema.items() if key not in TELLING}, sort_keys=True)


def _heading_of(resource: CustomResource, root: Schema) -> str:
    kind = resource.model.__name__
    lines = [
        f"## {kind}\n",
        f"{root['description']} `kubectl get {resource.plural}`, in short `{resource.short_name}`.\n",
    ]
    return "\n".join([*lines, *_rules_told(root)])


def _rendered(section: Section, known: dict[str, Section]) -> str:
    lines = [f"### {section.path}\n", f"{section.schema.get('description', '')}\n"]
    for path, change in section.others:
        differs = f", {CHANGE_IN_WORDS[change]}" if change != section.change else ""
        lines.append(f"Also `{path}`{differs}.\n")
    lines += [f"| {' | '.join(TABLE_HEAD)} |", "| --- " * len(TABLE_HEAD) + "|"]
    required = section.schema.get("required", ())
    for name, child in section.schema["properties"].items():
        cells = (
            f"`{name}`",
            _type_of(child, known) + _limits_of(child),
            _default_of(child),
            "yes" if name in required else "",
            section.change_of(f"{section.path}.{name}"),
            _description_of(child),
        )
        lines.append(f"| {' | '.join(_cell(text) for text in cells)} |")
    return "\n".join([*lines, "", *_rules_told(section.schema)])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _rules_told(schema: Schema) -> list[str]:
    """What an object's rules, and those of its plain fields, say to a person."""
    told = [f"- {rule['message']}" for rule in _rules(schema, old=False) if "message" in rule]
    for name, child in schema.get("properties", {}).items():
        if "properties" not in child:
            told += [
                f"- `{name}`: {rule['message']}" for rule in _rules(child, old=False) if "message" in rule
            ]
    return ["Rules:\n", *told, ""] if told else []


def _type_of(schema: Schema, known: dict[str, Section]) -> str:
    if "properties" in schema:
        return known[_identity(schema)].link
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    match schema.get("type"):
        case "array":
            return f"list of {_type_of(schema['items'], known)}"
        case "object" if "additionalProperties" in schema:
            return f"map of string to {_type_of(schema['additionalProperties'], known)}"
        case "object":
            return "object of any fields"
        case str(plain):
            format_ = schema.get("format", "")
            return f"{plain} ({format_})" if plain == "string" and format_ else plain
        case _:
            return "any value"


def _limits_of(schema: Schema) -> str:
    """Further limits of a value, each after a comma."""
    limits = list(bounds_of(schema))
    for least, most, unit in (
        ("minLength", "maxLength", "characters"),
        ("minItems", "maxItems", "items"),
        ("minProperties", "maxProperties", "entries"),
    ):
        if schema.get(least):
            limits.append("not empty" if schema[least] == 1 else f"at least {schema[least]} {unit}")
        if most in schema:
            limits.append(f"at most {schema[most]} {unit}")
    if "pattern" in schema:
        limits.append(f"matches `{schema['pattern']}`")
    return "".join(f", {limit}" for limit in limits)


def _default_of(schema: Schema) -> str:
    if "default" not in schema:
        return ""
    default = schema["default"]
    if isinstance(default, dict) and "properties" in schema and _is_made_of_defaults(default, schema):
        return "its fields' defaults"
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _is_made_of_defaults(default: dict[str, Any], schema: Schema) -> bool:
    fields = schema["properties"]
    return all(
        value == fields[name].get("default")
        or (isinstance(value, dict) and _is_made_of_defaults(value, fields[name]))
        for name, value in default.items()
    )


def _description_of(schema: Schema) -> str:
    """The description without the bounds, which have columns of their own here."""
    described: str = schema.get("description", "")
    return described.removesuffix(f" {bounds_told(schema)}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mlinfra.resources.api_docs", description="Write the API reference of the resources."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail where it is not current")
    parser.add_argument("file", type=Path, help="the page, docs/api.md")
    options = parser.parse_args(arguments)
    if not options.check:
        options.file.write_text(page())
        return 0
    if options.file.is_file() and options.file.read_text() == page():
        return 0
    print(
        f"{options.file} is {'stale' if options.file.is_file() else 'missing'}: "
        f"run `python -m mlinfra.resources.api_docs {options.file}` and commit the result.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
