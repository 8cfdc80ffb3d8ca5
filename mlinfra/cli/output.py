"""How commands show what they found: tables for people, JSON for machines."""

import json
import shutil
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH_OF_FILES = 200
"""Of tables that go to a file or another program, whose width nobody knows."""


class Format(StrEnum):
    """How a command's result is printed."""

    TABLE = "table"
    JSON = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="How the result is printed.")]


def console() -> "Console":
    """Where results are printed."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=table_width())


def table_width() -> int:
    """Columns that a table may take."""
    return shutil.get_terminal_size(fallback=(WIDTH_OF_FILES, 24)).columns


def print_json(value: Any) -> None:
    """Print a value in indented JSON; what JSON does not know becomes text."""
    typer.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def table_of(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> "Table":
    """Rows under upper-case headings; the last column is the one that wraps."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.upper(), no_wrap=column != columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "") -> None:
    """Print rows under upper-case headings; the last column is the one that wraps.

    Args:
        columns: the headings.
        rows: a cell for each column.
        empty: printed in place of a table without rows.
    """
    table = table_of(columns, rows)
    if empty and not table.rows:
        typer.echo(empty)
        return
    console().print(table)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values of one thing, one a line; what is empty is left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in fields:
        if value not in ("", None, (), []):
            table.add_row(name, Text(str(value)))
    console().print(table)
