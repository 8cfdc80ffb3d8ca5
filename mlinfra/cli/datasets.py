"""``mlinfra datasets``: example data into the feature store."""

from typing import Annotated

import typer

app = typer.Typer(help="Example data for the feature store.", no_args_is_help=True)


@app.command("list")
def list_datasets() -> None:
    """List the example data there is."""
    from mlinfra.datasets import DATASETS

    for dataset in DATASETS:
        typer.echo(f"{dataset.name:<8} {dataset.description}; label: {dataset.label}")


@app.command("write")
def write(
    name: Annotated[
        str, typer.Argument(help="Name of the data, such as sp500: see 'mlinfra datasets list'.")
    ],
    store: Annotated[
        str | None,
        typer.Option(
            envvar="MLINFRA_FEATURE_STORE_URI",
            help="Folder or file:// URI of the feature store.",
            show_default="data/feature_store",
        ),
    ] = None,
) -> None:
    """Register the data's features and write its rows; what is there already is left alone."""
    from mlinfra.datasets import write_dataset
    from mlinfra.errors import MlinfraError
    from mlinfra.features import get_feature_store

    try:
        feature_store = get_feature_store(store)
        written = write_dataset(feature_store, name)
    except MlinfraError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    done = "written to" if written.changed else "already in"
    typer.echo(
        f"{written.rows} rows, {written.first_date} to {written.last_date}, {done} "
        f"feature group {written.feature_group} of {feature_store.root}"
    )
