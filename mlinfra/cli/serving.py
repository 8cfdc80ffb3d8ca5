"""``mlinfra serve`` and ``mlinfra predict``: a model's answers, one by one over HTTP or many into a file."""

import logging
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlinfra.cli.options import PLACES, Store
from mlinfra.cli.output import Format, Output, print_json
from mlinfra.cli.running import expected_errors

if TYPE_CHECKING:
    from mlinfra.serving.served_model import ServedModel

LIMITS = "Limits"
FEATURES = "Features"

Model = Annotated[
    str,
    typer.Argument(
        envvar="MLINFRA_SERVED_MODEL",
        help="models:/NAME/VERSION, models:/NAME@ALIAS, or an ONNX file.",
        show_default=False,
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_TRACKING_URI",
        help="Where MLflow runs; a local file if absent.",
        rich_help_panel=PLACES,
    ),
]
Digest = Annotated[str | None, typer.Option(help="SHA-256 that the model's file must have.")]
Defaults = Annotated[
    list[str] | None,
    typer.Option(
        "--default", help="FEATURE=VALUE for --missing default; may repeat.", rich_help_panel=FEATURES
    ),
]


class Missing(StrEnum):
    """What is done about features that are missing or too old."""

    REJECT = "reject"
    DEFAULT = "default"
    LAST = "last"


MissingFeatures = Annotated[
    Missing | None,
    typer.Option(
        help="Features that are missing or too old: refuse, or replace by a default or the last value.",
        show_default="reject",
        rich_help_panel=FEATURES,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog="Settings are also read from MLINFRA_SERVING_*; see docs/serving.md.")(serve)
    app.command()(predict)


def serve(
    model: Model,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(envvar="PORT", help="Port.", show_default="8080")] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Port to also answer gRPC on.", show_default="no gRPC")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name in the routes.", show_default="the model's")] = None,
    digest: Digest = None,
    tracking_uri: TrackingUri = None,
    store: Store = None,
    feature_group: Annotated[
        str | None,
        typer.Option(
            help="Group of predictions by entity.", show_default="the training's", rich_help_panel=FEATURES
        ),
    ] = None,
    missing: MissingFeatures = None,
    default: Defaults = None,
    ttl_seconds: Annotated[
        float | None,
        typer.Option(
            help="The oldest that a feature may be.", show_default="any age", rich_help_panel=FEATURES
        ),
    ] = None,
    prediction_log: Annotated[
        str | None,
        typer.Option(
            envvar="MLINFRA_PREDICTION_LOG_URI",
            help="Feature store to log predictions and labels to.",
            rich_help_panel=PLACES,
        ),
    ] = None,
    monitoring: Annotated[
        str | None,
        typer.Option(
            envvar="MLINFRA_MONITORING_URI", help="Folder for monitoring's counters.", rich_help_panel=PLACES
        ),
    ] = None,
    max_pending: Annotated[
        int | None, typer.Option(help="Requests that may wait.", show_default="512", rich_help_panel=LIMITS)
    ] = None,
    max_body_bytes: Annotated[
        int | None, typer.Option(help="The largest body.", show_default="16 MiB", rich_help_panel=LIMITS)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads for one batch.", show_default="1", rich_help_panel=LIMITS)
    ] = None,
) -> None:
    """Serve a model over HTTP: the Open Inference Protocol, predictions by entity, labels, metrics.

    The token that calls must carry, if any, is MLINFRA_SERVING_TOKEN. SIGTERM and Ctrl-C end in order.
    """
    given = {
        "model": model,
        "host": host,
        "port": port,
        "grpc_port": grpc_port,
        "name": name,
        "digest": digest,
        "tracking_uri": tracking_uri,
        "feature_store_uri": store,
        "feature_group": feature_group,
        "missing": missing.value if missing else None,
        "defaults": numbers(default) if default else None,
        "ttl_seconds": ttl_seconds,
        "prediction_log_uri": prediction_log,
        "monitoring_uri": monitoring,
        "max_pending": max_pending,
        "max_body_bytes": max_body_bytes,
        "threads": threads,
    }
    with expected_errors():
        from mlinfra.serving.process import serve as run_server
        from mlinfra.serving.settings import settings_from

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        run_server(settings_from(os.environ, given), say=typer.echo)


def predict(
    model: Model,
    output_file: Annotated[Path, typer.Option("--to", help="Parquet file for the predictions.")],
    file: Annotated[
        Path | None, typer.Option("--file", help="Parquet or CSV file with the rows to predict.")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", help="Feature group with them.", rich_help_panel=FEATURES)
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="First date or time of the group.", rich_help_panel=FEATURES)
    ] = None,
    end: Annotated[str | None, typer.Option(help="Last one.", rich_help_panel=FEATURES)] = None,
    entity: Annotated[
        str | None, typer.Option(help="Column of the file that tells the entity.", show_default="one entity")
    ] = None,
    timestamp: Annotated[
        str | None,
        typer.Option(help="Column of the event time.", show_default="event_timestamp or timestamp"),
    ] = None,
    missing: MissingFeatures = None,
    default: Defaults = None,
    digest: Digest = None,
    batch_rows: Annotated[
        int, typer.Option(min=1, help="Rows of a file in memory at once.", rich_help_panel=LIMITS)
    ] = 8192,
    threads: Annotated[int, typer.Option(min=1, help="Threads.", rich_help_panel=LIMITS)] = 1,
    tracking_uri: TrackingUri = None,
    store: Store = None,
    output: Output = Format.TABLE,
) -> None:
    """Predict all rows of a file or a feature group, and write them to a Parquet file.

    A model that reads several rows predicts each row that has enough rows of its entity before it.
    """
    if (file is None) == (group is None):
        raise typer.BadParameter("give the rows with either --file or --group")
    if group is None and (start or end):
        raise typer.BadParameter("--start and --end are of a feature group")
    if file is not None and file.resolve() == output_file.resolve():
        raise typer.BadParameter("--to is the very file with the rows: it would be lost")
    with expected_errors():
        from mlinfra.features import get_feature_store
        from mlinfra.serving.batch_prediction import learnt_for_batches, predict_to_file
        from mlinfra.serving.batch_sources import rows_of_file, rows_of_group
        from mlinfra.serving.windows import WindowStream

        served = _loaded(model, tracking_uri, digest, threads)
        learnt = learnt_for_batches(served)
        stream = WindowStream(
            learnt.features,
            learnt.window,
            policy=(missing or Missing.REJECT).value,
            defaults=numbers(default or []),
        )
        if file is not None:
            batches = rows_of_file(
                file,
                learnt.features,
                entity=entity,
                timestamp=timestamp,
                needs_time=learnt.window > 1,
                batch_rows=batch_rows,
            )
        else:
            opened = get_feature_store(store)
            batches = rows_of_group(opened, str(group), learnt.features, start=start, end=end)
        report = predict_to_file(served, batches, stream, output_file)
    if output == Format.JSON:
        print_json(
            {
                "rows": report.rows,
                "predicted": report.predicted,
                "without_window": report.without_window,
                "model_version": served.file.version,
                "file": str(output_file),
            }
        )
        return
    left = (
        f"; {report.without_window} have fewer than the {learnt.window} rows that the model reads"
        if report.without_window
        else ""
    )
    typer.echo(f"{report.predicted} of {report.rows} rows predicted{left}: {output_file}")


def _loaded(model: str, tracking_uri: str | None, digest: str | None, threads: int) -> "ServedModel":
    from mlinfra.serving.model_source import ModelSource
    from mlinfra.serving.served_model import ServedModel

    return ServedModel(ModelSource(model, tracking_uri=tracking_uri).fetch(digest=digest), threads=threads)


def numbers(given: list[str]) -> dict[str, float]:
    """Values by name, of options written NAME=VALUE."""
    values = {}
    for each in given:
        name, separator, text = each.partition("=")
        try:
            values[name] = float(text)
        except ValueError:
            separator = ""
        if not separator or not name:
            raise typer.BadParameter(f"--default is FEATURE=VALUE, such as rsi=50, not {each!r}")
    return values
