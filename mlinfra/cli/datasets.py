"""``mlinfra datasets``: example data into the feature store."""

from typing import Annotated

import typer

from mlinfra.cli.options import Store
from mlinfra.cli.running import expected_errors

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
    store: Store = None,
) -> None:
    """Register the data's features and write its rows; what is there already is left alone."""
    from mlinfra.datasets import write_dataset
    from mlinfra.features import get_feature_store

    with expected_errors():
        feature_store = get_feature_store(store)
        written = write_dataset(feature_store, name)
    done = "written to" if written.changed else "already in"
    typer.echo(
        f"{written.rows} rows, {written.first_date} to {written.last_date}, {done} "
        f"feature group {written.feature_group} of {feature_store.uri}"
    )
