"""``mlinfra features``: the commands on rows: groups, write, read, check, materialize, snapshot."""

from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlinfra.cli.options import PLACES, Store
from mlinfra.cli.output import Format, Output, print_json, print_table, table_width
from mlinfra.cli.running import EXIT_ERROR, expected_errors

if TYPE_CHECKING:
    import pandas as pd

    from mlinfra.features import FeatureStore, WriteReport

FILE_SUFFIXES = (".parquet", ".csv")

Group = Annotated[str, typer.Argument(help="Name of the feature group.")]
Start = Annotated[str | None, typer.Option("--start", help="First date or time, YYYY-MM-DD in UTC.")]
End = Annotated[str | None, typer.Option("--end", help="Last date or time, itself included.")]


class OnViolation(StrEnum):
    """What becomes of rows that break an expectation; see `mlinfra.features.expectations.Policy`."""

    REJECT = "reject"
    QUARANTINE = "quarantine"
    WARN = "warn"


class Period(StrEnum):
    """What one partition folder holds."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


def register(app: typer.Typer) -> None:
    """Add the commands to ``mlinfra features``."""
    for command in (groups, write, read, check, materialize, snapshot, snapshots, compact, drop, vacuum):
        app.command(rich_help_panel="Rows")(command)


def groups(store: Store = None, output: Output = Format.TABLE) -> None:
    """List the feature groups, with their keys and features."""
    with expected_errors():
        feature_store = _open(store)
        found = [feature_store.get_feature_group(name) for name in feature_store.list_feature_groups()]
    if output == Format.JSON:
        print_json(
            [
                {
                    "name": each.name,
                    "entity_column": each.entity_column,
                    "time_column": each.time_column,
                    "partition_by": each.partition_by,
                    "features": {name: str(each.schema.field(name).type) for name in each.features},
                }
                for each in found
            ]
        )
    else:
        rows = (
            (e.name, e.entity_column, e.time_column, e.partition_by, ", ".join(e.features)) for e in found
        )
        print_table(
            ("group", "entity", "time", "partition", "features"),
            rows,
            empty=f"there are no feature groups in {feature_store.uri}",
        )


def write(
    group: Group,
    file: Annotated[Path, typer.Argument(help="Parquet or CSV file with the rows.")],
    timestamp: Annotated[
        str | None,
        typer.Option(
            help="Column of the event time; by default event_timestamp, timestamp, or the one of times."
        ),
    ] = None,
    entity: Annotated[
        str | None, typer.Option(help="Column of the entity's key; by default the one column of text.")
    ] = None,
    partition_by: Annotated[
        Period | None, typer.Option(help="What one folder holds; chosen by the rows by default.")
    ] = None,
    on_violation: Annotated[
        OnViolation | None,
        typer.Option(help="What becomes of rows that break an expectation; as defined by default."),
    ] = None,
    store: Store = None,
    output: Output = Format.TABLE,
) -> None:
    """Append the rows of a file to a feature group, which the first write creates."""
    from mlinfra.features.row_file import read_row_file

    reports: list[WriteReport] = []
    with expected_errors():
        feature_store = _open(store)
        there = group in feature_store.list_feature_groups()
        before = feature_store.get_feature_group(group) if there else None
        rows = read_row_file(file, timestamp, group=before)
        feature_store.write_offline_features(
            group,
            rows.table,
            entity_column=entity,
            partition_by=partition_by.value if partition_by else None,
            on_violation=on_violation.value if on_violation else None,
            on_report=reports.append,
        )
    (report,) = reports
    if output == Format.JSON:
        print_json(asdict(report))
        return
    aside = f", {report.rows_quarantined} quarantined" if report.rows_quarantined else ""
    typer.echo(f"{report.rows_written} rows written{aside}: feature group {group} of {feature_store.uri}")
    for notice in (*rows.notices, *map(str, report.violations)):
        typer.echo(f"Warning: {notice}", err=True)


def read(
    group: Annotated[str | None, typer.Argument(help="Name of the feature group.")] = None,
    start: Start = None,
    end: End = None,
    column: Annotated[list[str] | None, typer.Option(help="A feature to read; may repeat.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The most rows; 10 in a table, else all.", show_default=False)
    ] = None,
    quarantine: Annotated[bool, typer.Option("--quarantine", help="Read what was set aside.")] = False,
    snapshot: Annotated[str | None, typer.Option(help="Read from the snapshot of this ID or name.")] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="table, json, or a file ending in .parquet or .csv.")
    ] = Format.TABLE,
    store: Store = None,
) -> None:
    """Read rows of a feature group, or of a snapshot, into a table or a file."""
    file = Path(output) if output not in tuple(Format) else None
    if file is not None and file.suffix not in FILE_SUFFIXES:
        raise typer.BadParameter(f"--output is table, json, or a file ending in .parquet or .csv: {output!r}")
    if snapshot is None and group is None:
        raise typer.BadParameter("name a feature group, or a snapshot with --snapshot")
    if snapshot is not None and (quarantine or start or end):
        raise typer.BadParameter("a snapshot is read whole: leave out --start, --end and --quarantine")
    if quarantine and column:
        raise typer.BadParameter("quarantined rows are read whole: leave out --column")
    with expected_errors():
        feature_store = _open(store)
        if snapshot is not None:
            frame = feature_store.read_snapshot(snapshot, group, column)
        elif quarantine:
            frame = feature_store.read_quarantined_features(str(group), start, end)
        else:
            frame = feature_store.read_offline_features(str(group), start, end, column)
        if file is not None:
            _save(frame.head(limit) if limit else frame, file)
            return
    if output == Format.JSON:
        typer.echo(_json_of(frame.head(limit) if limit else frame))
    else:
        _print_head(frame, limit or 10)


def check(
    group: Group,
    start: Start = None,
    end: End = None,
    feature: Annotated[list[str] | None, typer.Option(help="A feature to check; may repeat.")] = None,
    store: Store = None,
    output: Output = Format.TABLE,
) -> None:
    """Check stored rows against what is expected of their features.

    Exit codes: 0 all as expected, 1 expectations are broken, 2 bad input.
    """
    with expected_errors():
        report = _open(store).check_features(group, start, end, feature)
    if output == Format.JSON:
        print_json({**asdict(report), "ok": report.ok})
    else:
        checked = ", ".join(report.features) or "nothing, for no feature has expectations"
        typer.echo(f"{report.rows} rows of {group}, checked: {checked}")
        if report.violations:
            rows = (
                (f"{e.feature}@{e.version}", e.told, e.rows, f"{e.first_value} ({e.first_key})")
                for e in report.violations
            )
            print_table(("feature", "values are", "rows", "first"), rows)
    if not report.ok:
        raise typer.Exit(EXIT_ERROR)


def materialize(
    group: Group,
    start: Start = None,
    end: End = None,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Only what was written since the last time.")
    ] = False,
    version: Annotated[str | None, typer.Option(help="Version of the online group, 1.0 by default.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is online, however new.")] = False,
    online: Annotated[
        str | None,
        typer.Option(
            envvar="MLINFRA_ONLINE_STORE_URI",
            help="Folder or redis:// URI of the online rows.",
            show_default="online in the store",
            rich_help_panel=PLACES,
        ),
    ] = None,
    store: Store = None,
) -> None:
    """Bring the newest row of each entity into the online store, where a model server reads it."""
    if incremental and (start or end or force):
        raise typer.BadParameter("--incremental goes on where it was: leave out --start, --end and --force")
    with expected_errors():
        feature_store = _open(store, online)
        if incremental:
            stored = feature_store.materialize_incremental(group, version=version)
        else:
            stored = feature_store.materialize(group, start, end, version=version, force=force)
    typer.echo(f"{stored} entities of {group} stored online")


def snapshot(
    group: Annotated[list[str], typer.Argument(help="Feature groups to keep.")],
    name: Annotated[str | None, typer.Option(help="A name for it.")] = None,
    start: Start = None,
    end: End = None,
    column: Annotated[
        list[str] | None, typer.Option(help="A feature to keep, of one group; may repeat.")
    ] = None,
    known_at: Annotated[str | None, typer.Option(help="Only rows that were known by then.")] = None,
    store: Store = None,
    output: Output = Format.TABLE,
) -> None:
    """Keep which rows there are now, so that a training can read the very same again."""
    with expected_errors():
        created = _open(store).create_snapshot(
            group if len(group) > 1 else group[0],
            name,
            start_date=start,
            end_date=end,
            columns=column,
            known_at=known_at,
        )
    if output == Format.JSON:
        print_json(created.model_dump(mode="json", exclude_none=True))
    else:
        kept = ", ".join(f"{each.rows} rows of {each.group}" for each in created.groups)
        typer.echo(f"{created.name or created.id}: {kept} (ID {created.id})")


def snapshots(store: Store = None, output: Output = Format.TABLE) -> None:
    """List the snapshots, the oldest first."""
    with expected_errors():
        feature_store = _open(store)
        found = feature_store.list_snapshots()
    if output == Format.JSON:
        print_json([each.model_dump(mode="json", exclude_none=True) for each in found])
    else:
        rows = (
            (
                each.id,
                each.name or "",
                f"{each.created_at:%Y-%m-%d %H:%M}",
                ", ".join(f"{part.group} ({part.rows} rows)" for part in each.groups),
            )
            for each in found
        )
        print_table(
            ("id", "name", "created", "rows"), rows, empty=f"there are no snapshots in {feature_store.uri}"
        )


def compact(
    group: Group,
    min_files: Annotated[int, typer.Option(min=2, help="Leave folders with fewer files alone.")] = 2,
    forget_before: Annotated[
        str | None, typer.Option(help="Also drop rows that one created by then supersedes.")
    ] = None,
    store: Store = None,
    output: Output = Format.TABLE,
) -> None:
    """Merge the many small files of each partition into one; readers notice nothing."""
    with expected_errors():
        report = _open(store).compact_offline_features(
            group, min_files=min_files, forget_before=forget_before
        )
    if output == Format.JSON:
        print_json(asdict(report))
    else:
        typer.echo(
            f"{group}: {report.files_before} files in {report.partitions} folders became "
            f"{report.files_after}; a vacuum removes the old ones"
        )


def drop(
    group: Group,
    before: Annotated[str, typer.Option(help="First date or time that stays, YYYY-MM-DD in UTC.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    store: Store = None,
    output: Output = Format.TABLE,
) -> None:
    """Let rows of long ago go, in whole files; a vacuum deletes them later."""
    with expected_errors():
        report = _open(store).drop_offline_features(group, before=before, dry_run=dry_run)
    if output == Format.JSON:
        print_json(asdict(report))
    else:
        done = "would go" if dry_run else "dropped; a vacuum deletes them"
        typer.echo(f"{group}: {report.files} files with {report.rows} rows, {report.bytes} bytes, {done}")


def vacuum(
    group: Group,
    older_than_hours: Annotated[
        float | None,
        typer.Option(min=0, help="How long replaced files stay for slow readers.", show_default="a week"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be deleted.")] = False,
    store: Store = None,
    output: Output = Format.TABLE,
) -> None:
    """Delete files that compactions replaced and that no snapshot needs."""
    from mlinfra.features.vacuum import DEFAULT_GRACE

    grace = DEFAULT_GRACE if older_than_hours is None else timedelta(hours=older_than_hours)
    with expected_errors():
        report = _open(store).vacuum_offline_features(group, older_than=grace, dry_run=dry_run)
    if output == Format.JSON:
        print_json(asdict(report))
    else:
        done = "would be deleted" if dry_run else "deleted"
        typer.echo(
            f"{group}: {len(report.files)} files, {report.bytes} bytes, {done}; {report.protected} protected"
        )


def _open(location: str | None, online: str | None = None) -> "FeatureStore":
    from mlinfra.features import get_feature_store

    return get_feature_store(location, online=online)


def _save(frame: "pd.DataFrame", file: Path) -> None:
    from mlinfra.errors import InvalidInputError

    try:
        if file.suffix == ".parquet":
            frame.to_parquet(file, index=False)
        else:
            frame.to_csv(file, index=False)
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be written: {error.strerror or error}") from error
    typer.echo(f"{len(frame)} rows written to {file}")


def _json_of(frame: "pd.DataFrame") -> str:
    text: str = frame.to_json(orient="records", date_format="iso", date_unit="us", double_precision=15)
    return text


def _print_head(frame: "pd.DataFrame", limit: int) -> None:
    if frame.empty:
        typer.echo("no rows")
        return
    typer.echo(frame.head(limit).to_string(index=False, line_width=table_width()))
    if len(frame) > limit:
        typer.echo(f"{limit} of {len(frame)} rows; --limit shows more, --output FILE.parquet has them all")
