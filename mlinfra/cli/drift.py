"""``mlinfra drift``: how far rows are from what a model learnt from."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlinfra.cli.drift_options import (
    LEAST,
    Data,
    DriftModel,
    End,
    Group,
    Profile,
    Start,
    Timestamp,
    check_sources,
)
from mlinfra.cli.multivariate import multivariate
from mlinfra.cli.options import Store
from mlinfra.cli.output import Format, Output, print_json, print_table
from mlinfra.cli.running import expected_errors
from mlinfra.cli.serving import FEATURES, Defaults, Digest, Missing, MissingFeatures, TrackingUri, numbers
from mlinfra.errors import MlinfraError

if TYPE_CHECKING:
    from mlinfra.monitoring.report.document import DriftDocument

MOST_WINDOWS = 24
WINDOWS = "Windows and thresholds"


class ReportFileError(MlinfraError):
    """The file of a report cannot be written."""


app = typer.Typer(help="How far rows are from what a model learnt from.", no_args_is_help=True)
app.command(epilog="Example: mlinfra drift multivariate churn/7 --from 2026-01-01")(multivariate)


class Method(StrEnum):
    """How distributions are compared."""

    PSI = "PSI"
    JENSEN_SHANNON = "JensenShannon"
    KOLMOGOROV_SMIRNOV = "KolmogorovSmirnov"
    WASSERSTEIN = "Wasserstein"
    CHI_SQUARED = "ChiSquared"
    L_INFINITY = "LInfinity"


@app.command(
    epilog="Example: mlinfra drift report churn/7 --group customers --from 2026-01-01 --out drift.html"
)
def report(
    model: DriftModel = None,
    profile: Profile = None,
    group: Group = None,
    data: Data = None,
    start: Start = None,
    end: End = None,
    entity: Annotated[
        str | None,
        typer.Option(
            help="Column of the file that tells the entity.",
            show_default="one entity",
            rich_help_panel=FEATURES,
        ),
    ] = None,
    timestamp: Timestamp = None,
    missing: MissingFeatures = None,
    default: Defaults = None,
    method: Annotated[
        Method, typer.Option(help="How distributions are compared.", rich_help_panel=WINDOWS)
    ] = Method.PSI,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=LEAST,
            help="A feature drifts above it.",
            show_default="calibrated on the training rows",
            rich_help_panel=WINDOWS,
        ),
    ] = None,
    false_alarm_rate: Annotated[
        float,
        typer.Option(min=LEAST, max=0.5, help="Of calibrated thresholds.", rich_help_panel=WINDOWS),
    ] = 0.01,
    min_samples: Annotated[
        int, typer.Option(min=1, help="Fewer rows tell nothing.", rich_help_panel=WINDOWS)
    ] = 100,
    windows: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Windows of the scores over time.",
            show_default="up to 24 of at least --min-samples rows",
            rich_help_panel=WINDOWS,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="HTML file for the report.")] = None,
    digest: Digest = None,
    tracking_uri: TrackingUri = None,
    store: Store = None,
    output: Output = Format.TABLE,
) -> None:
    """Compare rows with what a model learnt from, feature by feature, and write a page with plots."""
    check_sources(model, profile, group=group, data=data, start=start, end=end)
    with expected_errors():
        from mlinfra.cli.drift_rows import RowSource, beside_model, beside_profile
        from mlinfra.monitoring.report.document import drift_document
        from mlinfra.resources.monitoring import DriftPolicy
        from mlinfra.serving.batch_counts import counted_windows

        source = RowSource(group, data, start, end, entity, timestamp, store)
        if profile is not None:
            compared = beside_profile(profile, source)
        else:
            compared = beside_model(
                str(model),
                source,
                tracking_uri=tracking_uri,
                digest=digest,
                missing=(missing or Missing.REJECT).value,
                defaults=numbers(default or []),
            )
        rows = len(compared.rows.times)
        parts = windows or max(1, min(MOST_WINDOWS, rows // min_samples))
        document = drift_document(
            compared.subject,
            compared.profile,
            counted_windows(compared.profile, compared.rows, parts),
            DriftPolicy(
                method=method.value,
                threshold=threshold,
                false_alarm_rate=false_alarm_rate,
                min_samples=min_samples,
            ),
        )
        if out is not None:
            _write(document, out)
    if output == Format.JSON:
        print_json(document.to_wire())
    else:
        _print(document, out)


def _write(document: "DriftDocument", path: Path) -> None:
    from mlinfra.monitoring.report.page import document_html

    page = document_html(document)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ReportFileError(f"{path} cannot be written: {error.strerror or error}") from error


def _print(document: "DriftDocument", out: Path | None) -> None:
    from mlinfra.monitoring.report.page import RANKING, ranking_rows, verdict_on

    typer.echo(verdict_on(document))
    print_table(RANKING, ranking_rows(document))
    if document.prediction is not None:
        typer.echo(f"{document.policy.method} of the predictions: {document.prediction.drift.score:.4g}")
    if out is not None:
        typer.echo(f"The report: {out}")
