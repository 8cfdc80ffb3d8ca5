"""Options that the commands of ``mlinfra drift`` share, and what they may not be together."""

from pathlib import Path
from typing import Annotated

import typer

from mlinfra.cli.serving import FEATURES

LEAST = 1e-9
"""Of a rate or a threshold."""

DriftModel = Annotated[
    str | None,
    typer.Argument(
        help="NAME (its version in Production), NAME/VERSION, NAME@ALIAS, or an ONNX file.",
        show_default=False,
    ),
]
Profile = Annotated[
    Path | None,
    typer.Option(help="A reference_profile.json in place of a model: features are compared alone."),
]
Group = Annotated[
    str | None,
    typer.Option(
        help="Feature group with the rows.", show_default="the training's", rich_help_panel=FEATURES
    ),
]
Data = Annotated[
    Path | None, typer.Option(help="Parquet or CSV file with the rows.", rich_help_panel=FEATURES)
]
Start = Annotated[
    str | None, typer.Option("--from", help="First date or time of the group.", rich_help_panel=FEATURES)
]
End = Annotated[str | None, typer.Option("--to", help="Last one.", rich_help_panel=FEATURES)]
Timestamp = Annotated[
    str | None,
    typer.Option(
        help="Column of a file's event time.",
        show_default="event_timestamp or timestamp",
        rich_help_panel=FEATURES,
    ),
]


def check_sources(
    model: str | None,
    profile: Path | None,
    *,
    group: str | None,
    data: Path | None,
    start: str | None,
    end: str | None,
) -> None:
    """That it is said once what is compared, and where the rows are.

    Raises:
        typer.BadParameter: it is not, or more than once.
    """
    if (model is None) == (profile is None):
        raise typer.BadParameter("give either a MODEL or --profile")
    if data is not None and (group or start or end):
        raise typer.BadParameter("--group, --from and --to are of a feature group, and --data is a file")
