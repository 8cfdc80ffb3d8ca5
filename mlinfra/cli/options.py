"""Options that several commands share."""

from typing import Annotated

import typer

Store = Annotated[
    str | None,
    typer.Option(
        envvar="MLINFRA_FEATURE_STORE_URI",
        help="Folder or URI of the feature store.",
        show_default="data/feature_store",
    ),
]
