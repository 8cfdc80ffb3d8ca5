"""Options that several commands share."""

from typing import Annotated

import typer

PLACES = "Where things are"
"""The group of options, in a help text, that say where data is read and written."""

Store = Annotated[
    str | None,
    typer.Option(
        envvar="MLINFRA_FEATURE_STORE_URI",
        help="Folder or URI of the feature store.",
        show_default="data/feature_store",
        rich_help_panel=PLACES,
    ),
]

Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace of the resource.", show_default="the kubeconfig's"),
]
