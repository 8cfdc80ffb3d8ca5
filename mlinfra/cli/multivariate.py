"""``mlinfra drift multivariate``: whether features go together as they did, which no single one shows."""

from dataclasses import asdict, replace
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
from mlinfra.cli.options import Store
from mlinfra.cli.output import Format, Output, print_json
from mlinfra.cli.running import expected_errors
from mlinfra.cli.serving import Digest, TrackingUri
from mlinfra.errors import InvalidInputError

if TYPE_CHECKING:
    from mlinfra.cli.drift_rows import RowSource
    from mlinfra.monitoring.profile import ReferenceProfile

REFERENCE = "Reference rows"
SCHEMA_VERSION = 1
TRAINING = "train"
"""Name of the training part among the periods of a profile."""


class Method(StrEnum):
    """How rows are compared; see `mlinfra.monitoring.multivariate`."""

    PCA_RECONSTRUCTION = "PCAReconstruction"
    DOMAIN_CLASSIFIER = "DomainClassifier"


class NoReferenceRowsError(InvalidInputError):
    """Nothing tells which rows the model learnt from."""

    reason = "NoReferenceRows"


def multivariate(
    model: DriftModel = None,
    profile: Profile = None,
    group: Group = None,
    data: Data = None,
    start: Start = None,
    end: End = None,
    timestamp: Timestamp = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="File with the reference rows; a group where absent.", rich_help_panel=REFERENCE),
    ] = None,
    reference_group: Annotated[
        str | None,
        typer.Option(help="Their group.", show_default="as --group", rich_help_panel=REFERENCE),
    ] = None,
    reference_start: Annotated[
        str | None,
        typer.Option(
            "--reference-from",
            help="Their first date or time.",
            show_default="the training's",
            rich_help_panel=REFERENCE,
        ),
    ] = None,
    reference_end: Annotated[
        str | None,
        typer.Option(
            "--reference-to", help="Last one.", show_default="the training's", rich_help_panel=REFERENCE
        ),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="PCA sees linear relations cheaply, the classifier any difference.")
    ] = Method.PCA_RECONSTRUCTION,
    false_alarm_rate: Annotated[
        float, typer.Option(min=LEAST, max=0.5, help="Share of checks without drift that may find one.")
    ] = 0.01,
    every: Annotated[
        int, typer.Option(min=1, help="Take each Nth row: those that follow closely resemble each other.")
    ] = 1,
    digest: Digest = None,
    tracking_uri: TrackingUri = None,
    store: Store = None,
    output: Output = Format.TABLE,
) -> None:
    """Compare rows with those that a model learnt from, all features together."""
    check_sources(model, profile, group=group, data=data, start=start, end=end)
    if reference is not None and (reference_group or reference_start or reference_end):
        raise typer.BadParameter("--reference is a file, and the other --reference options are of a group")
    with expected_errors():
        from mlinfra.cli.drift_rows import RowSource, model_with_profile, profile_of_file
        from mlinfra.monitoring.multivariate import multivariate_drift
        from mlinfra.serving.batch_counts import answered_rows

        learnt_from = None
        if profile is not None:
            known = profile_of_file(profile)
        else:
            file, known = model_with_profile(str(model), tracking_uri=tracking_uri, digest=digest)
            learnt_from = file.learnt.feature_group if file.learnt is not None else None
        source = RowSource(group, data, start, end, None, timestamp, store)
        before = replace(
            source,
            group=reference_group or group,
            data=reference,
            start=reference_start,
            end=reference_end,
        )
        before = _in_training(before, known)
        names = source.named(learnt_from), before.named(learnt_from)
        now, then = (
            answered_rows(each.batches(known.feature_names, learnt_from)).features[::every]
            for each in (source, before)
        )
        found = multivariate_drift(then, now, method=method.value, false_alarm_rate=false_alarm_rate)
    if output == Format.JSON:
        rows = {"data": names[0], "rows": len(now), "reference": names[1], "referenceRows": len(then)}
        print_json({"schemaVersion": SCHEMA_VERSION, **asdict(found), "drifted": found.drifted, **rows})
        return
    verdict = "drifted" if found.drifted else "did not drift"
    typer.echo(
        f"{len(known.feature_names)} features together {verdict}: {found.method} {found.score:.4g}, without "
        f"drift {found.lower:.4g} to {found.upper:.4g}."
    )
    typer.echo(f"{len(now):,} rows of {names[0]} beside {len(then):,} of {names[1]}.")


def _in_training(source: "RowSource", profile: "ReferenceProfile") -> "RowSource":
    """The training's own dates, where nobody gave others.

    Raises:
        NoReferenceRowsError: the profile does not tell them.
    """
    if source.data is not None or source.start or source.end:
        return source
    if TRAINING not in profile.periods:
        raise NoReferenceRowsError(
            "the reference profile does not tell the dates of the training: give --reference, or "
            "--reference-from and --reference-to"
        )
    first, last = profile.periods[TRAINING].split("/")
    return replace(source, start=first, end=last)
