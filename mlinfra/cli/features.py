"""``mlinfra features``: definitions and rows of the feature store.

Here are the commands on definitions; those on rows are in `mlinfra.cli.feature_rows`.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlinfra.cli import feature_rows
from mlinfra.cli.options import Store
from mlinfra.cli.output import Format, Output, print_fields, print_json, print_table
from mlinfra.cli.running import expected_errors

if TYPE_CHECKING:
    from mlinfra.features import FeatureMetadata, FeatureStore

DEFINITIONS = "Definitions"

app = typer.Typer(
    help="The feature store: definitions, rows, snapshots.",
    epilog="Exit codes: 0 done, 1 error or broken expectations, 2 bad input.",
    no_args_is_help=True,
)

FeatureName = Annotated[str, typer.Argument(help="Name of the feature.")]
Version = Annotated[str | None, typer.Option(help="Its version; the newest by default.")]


class GraphFormat(StrEnum):
    """How a lineage is printed."""

    TREE = "tree"
    DOT = "dot"
    MERMAID = "mermaid"
    JSON = "json"


@app.command("list", rich_help_panel=DEFINITIONS)
def list_features(
    every_version: Annotated[bool, typer.Option("--all", help="Every version, not only the newest.")] = False,
    store: Store = None,
    output: Output = Format.TABLE,
) -> None:
    """List the registered features."""
    with expected_errors():
        feature_store = _open(store)
        found = feature_store.list_features()
        newest = list({each.name: each for each in found}.values())
        shown = found if every_version else newest
        if output == Format.JSON:
            print_json([each.model_dump(mode="json", exclude_none=True) for each in shown])
        else:
            columns = ("name", "version", "type", "data type", "expectations", "description")
            rows = ((e.name, e.version, e.feature_type, e.data_type, _rules(e), e.description) for e in shown)
            print_table(columns, rows, empty=f"no features are registered in {feature_store.uri}")


@app.command(rich_help_panel=DEFINITIONS)
def show(
    name: FeatureName, version: Version = None, store: Store = None, output: Output = Format.TABLE
) -> None:
    """Show a feature's definition, its versions, and where it is used."""
    with expected_errors():
        found = _open(store).describe_feature(name, version)
    shown = found.definition.model_dump(mode="json", exclude_none=True) | {
        "registered_at": f"{found.registered_at:%Y-%m-%dT%H:%M:%SZ}",
        "versions": found.versions,
        "used_by": found.used_by,
        "feature_groups": found.feature_groups,
    }
    if output == Format.JSON:
        print_json(shown)
    else:
        shown["expectations"] = _rules(found.definition)
        print_fields((field.replace("_", " "), _joined(value)) for field, value in shown.items())


@app.command(rich_help_panel=DEFINITIONS)
def register(
    file: Annotated[
        Path | None, typer.Argument(help="JSON or YAML file with definitions; else give --name.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the feature: the column of its groups.")] = None,
    version: Annotated[str | None, typer.Option(help="Version of the definition, 1.0 by default.")] = None,
    description: Annotated[str | None, typer.Option(help="Its meaning, with unit and range.")] = None,
    feature_type: Annotated[
        str | None, typer.Option("--type", help="Kind of feature, such as technical.")
    ] = None,
    data_type: Annotated[str | None, typer.Option(help="Type of its values, float by default.")] = None,
    source: Annotated[str | None, typer.Option(help="What computes it.")] = None,
    depends_on: Annotated[
        list[str] | None, typer.Option(help="A feature, as rsi or rsi@1.0, or raw:close; may repeat.")
    ] = None,
    minimum: Annotated[float | None, typer.Option("--min", help="Expect no value below.")] = None,
    maximum: Annotated[float | None, typer.Option("--max", help="Expect no value above.")] = None,
    max_null_share: Annotated[float | None, typer.Option(help="Expect no larger part null, 0 to 1.")] = None,
    allowed: Annotated[list[str] | None, typer.Option(help="Expect only such values; may repeat.")] = None,
    on_violation: Annotated[
        str | None, typer.Option(help="reject (default), quarantine or warn.", show_default=False)
    ] = None,
    store: Store = None,
) -> None:
    """Register definitions from a file, or one from options; the same ones again change nothing."""
    from mlinfra.features.definition_file import checked_definition, read_definitions

    expectations = _given(
        minimum=minimum,
        maximum=maximum,
        max_null_share=max_null_share,
        allowed_values=tuple(_literal(value) for value in allowed) if allowed else None,
        on_violation=on_violation,
    )
    fields = _given(
        name=name,
        version=version,
        description=description,
        feature_type=feature_type,
        data_type=data_type,
        source=source,
        dependencies=tuple(depends_on) if depends_on else None,
        expectations=expectations or None,
    )
    if (file is None) == (not fields) or (file is None and name is None):
        raise typer.BadParameter("give either a file or --name with the other options")
    with expected_errors():
        definitions = (
            read_definitions(file) if file is not None else [checked_definition(fields, where="options")]
        )
        feature_store = _open(store)
        feature_store.register_features(definitions)
    names = ", ".join(f"{each.name}@{each.version}" for each in definitions)
    typer.echo(f"registered in {feature_store.uri}: {names}")


@app.command(rich_help_panel=DEFINITIONS)
def diff(
    name: FeatureName,
    before: Annotated[str, typer.Argument(help="One version.")],
    after: Annotated[str, typer.Argument(help="Another.")],
    store: Store = None,
    output: Output = Format.TABLE,
) -> None:
    """Show what differs between two versions of a feature."""
    with expected_errors():
        changes = _open(store).diff_features(name, before, after)
    if output == Format.JSON:
        print_json([{"field": each.field, "before": each.before, "after": each.after} for each in changes])
    elif not changes:
        typer.echo("no difference")
    else:
        rows = ((each.field, _joined(each.before), _joined(each.after)) for each in changes)
        print_table(("field", before, after), rows)


@app.command(rich_help_panel=DEFINITIONS)
def lineage(
    name: FeatureName,
    version: Version = None,
    store: Store = None,
    output: Annotated[GraphFormat, typer.Option("--output", "-o", help="How it is printed.")] = (
        GraphFormat.TREE
    ),
) -> None:
    """Show what a feature is computed from, and what is computed from it."""
    with expected_errors():
        found = _open(store).feature_lineage(name, version)
    if output == GraphFormat.JSON:
        edges = [{"from": source.name, "to": result.name} for source, result in found.edges]
        print_json({"feature": found.feature.name, "edges": edges})
    else:
        forms = {GraphFormat.DOT: found.dot, GraphFormat.MERMAID: found.mermaid, GraphFormat.TREE: found.tree}
        typer.echo(forms[output]())


@app.command(rich_help_panel=DEFINITIONS)
def delete(
    name: FeatureName,
    version: Annotated[str, typer.Argument(help="Version to delete.")],
    store: Store = None,
) -> None:
    """Delete a definition that nothing depends on; its rows stay."""
    with expected_errors():
        _open(store).delete_feature(name, version)
    typer.echo(f"deleted: {name}@{version}")


def _open(location: str | None) -> "FeatureStore":
    from mlinfra.features import get_feature_store

    return get_feature_store(location)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _literal(text: str) -> bool | int | float | str:
    """The number or boolean that a text is, else the text."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _rules(definition: "FeatureMetadata") -> str:
    return "" if definition.expectations is None else str(definition.expectations)


def _joined(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


feature_rows.register(app)
