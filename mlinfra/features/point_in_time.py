"""Features as they were known at the time of each row: the training data that cannot see the future.

The join is done on keys alone: entity, event time and where the row is. Then each file is read once for
the rows that were found. So values never pass through another type system, what is held in memory is the
keys (DuckDB moves what does not fit to disk) and the result, and files without a match are read for their
keys only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlinfra.errors import suggestion
from mlinfra.features.asof import KEYS, NO_POSITION, JoinSettings, Positions, matching_positions
from mlinfra.features.entity_rows import (
    Frame,
    column_names,
    entity_keys,
    event_times,
    with_columns,
)
from mlinfra.features.errors import UnknownFeatureGroup
from mlinfra.features.group import CREATED_COLUMN
from mlinfra.features.group_files import GroupFiles
from mlinfra.features.instants import INT64, Instants, Integers
from mlinfra.features.references import WantedColumn, check_names, group_names, wanted_columns
from mlinfra.features.time_to_live import age_nanoseconds
from mlinfra.features.timerange import Moment, TimeRange, moment_after

Ttl = timedelta | Mapping[str, timedelta | None] | None


def training_features(
    files_of: Callable[[str], GroupFiles],
    entity_rows: Frame,
    features: Sequence[str],
    *,
    ttl: Ttl,
    known_at: Moment | None,
    time_column: str | None,
    full_feature_names: bool,
    settings: JoinSettings,
) -> Frame:
    """Join features to rows as of their times; see `FeatureStore.get_training_features`.

    ``files_of`` gives the files of a group by name, or raises `UnknownFeatureGroup`.
    """
    names = group_names(features)
    sources = {name: files_of(name) for name in names}
    wanted = wanted_columns(
        features, {name: source.group for name, source in sources.items()}, full_names=full_feature_names
    )
    check_names(wanted, column_names(entity_rows))
    ages = _ages(ttl, names)
    times = event_times(entity_rows, time_column)
    created_before = None if known_at is None else moment_after(known_at, "known_at", unit="us")
    columns: dict[WantedColumn, pa.ChunkedArray] = {}
    for name, source in sources.items():
        of_group = [each for each in wanted if each.group == name]
        keys = entity_keys(entity_rows, source.group)
        table = _joined(
            source,
            list(dict.fromkeys(each.column for each in of_group)),
            keys,
            times,
            age=ages[name],
            created_before=created_before,
            settings=settings,
        )
        columns |= {each: table.column(each.column) for each in of_group}
    added = pa.table([columns[each] for each in wanted], names=[each.name for each in wanted])
    return with_columns(entity_rows, added)


def _ages(ttl: Ttl, groups: Sequence[str]) -> dict[str, int | None]:
    """The oldest that a feature of each group may be, in nanoseconds; None is any age."""
    if not isinstance(ttl, Mapping):
        return dict.fromkeys(groups, age_nanoseconds(ttl, "ttl"))
    for name in ttl:
        if name not in groups:
            raise UnknownFeatureGroup(
                f"ttl names the feature group {name!r}, of which no feature is asked for: "
                f"{suggestion(name, groups)}"
            )
    return {name: age_nanoseconds(ttl.get(name), f"ttl of {name!r}") for name in groups}


def _joined(
    source: GroupFiles,
    columns: Sequence[str],
    keys: pa.Array,
    times: Instants,
    *,
    age: int | None,
    created_before: int | None,
    settings: JoinSettings,
) -> pa.Table:
    """Columns of a group as of each row's time, null where there is nothing, (rows, columns)."""
    group = source.group
    latest = times.latest(group.time_type.unit)
    earliest = None if age is None else times.earliest(group.time_type.unit, age)
    known = keys.unique().drop_null()
    if len(known) == 0:
        return _rows_at(source, columns, np.full(len(keys), NO_POSITION))
    source = source.within(_period(latest, earliest, group.time_type), created_before)
    needs_creation = source.created_before is not None or not source.unique
    schema = KEYS if needs_creation else KEYS.remove(KEYS.get_field_index("created"))
    positions = matching_positions(
        pc.index_in(keys, known),
        latest,
        earliest,
        _keys(source, known, schema),
        schema,
        unique=source.unique,
        settings=settings,
    )
    return _rows_at(source, columns, positions)


def _period(latest: Integers, earliest: Integers | None, time_type: pa.TimestampType) -> TimeRange:
    """The event times that can be of use to any row."""
    start = None if earliest is None else np.datetime64(int(earliest.min()), time_type.unit)
    stop = np.datetime64(min(int(latest.max()), INT64.max - 1) + 1, time_type.unit)
    return TimeRange(start, stop, time_type)


def _keys(source: GroupFiles, known: pa.Array, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Keys, with ``schema``, of the rows that count and are of a known entity."""
    names = {"entity": source.group.entity_column, "moment": source.group.time_column}
    if "created" in schema.names:
        names["created"] = CREATED_COLUMN
    for first, batch in source.batches(list(names.values())):
        columns = {
            "entity": pc.index_in(batch.column(names["entity"]), known),
            "position": pa.array(np.arange(first, first + batch.num_rows)),
        } | {name: batch.column(names[name]).cast(pa.int64()) for name in names if name != "entity"}
        keys = pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
        counts = _counts(keys, source)
        yield keys.filter(counts) if counts.false_count else keys


def _counts(keys: pa.RecordBatch, source: GroupFiles) -> pa.Array:
    counts = keys.column("entity").is_valid()
    if source.created_before is not None:
        counts = pc.and_(counts, pc.less(keys.column("created"), source.created_before))
    # Later rows than any that is asked for would be sorted for nothing.
    if source.period.stop is not None:
        counts = pc.and_(counts, pc.less(keys.column("moment"), int(source.period.stop.astype(np.int64))))
    if source.period.start is not None:
        start = int(source.period.start.astype(np.int64))
        counts = pc.and_(counts, pc.greater_equal(keys.column("moment"), start))
    return counts


def _rows_at(source: GroupFiles, columns: Sequence[str], positions: Positions) -> pa.Table:
    """Columns of the rows at the positions, null at `NO_POSITION`, (len(positions), columns)."""
    order = np.argsort(positions, kind="stable")
    order = order[np.searchsorted(positions[order], NO_POSITION, side="right") :]
    wanted = positions[order]
    ends = np.cumsum([file.rows for file in source.files], dtype=np.int64)
    file_of = np.searchsorted(ends, wanted, side="right")
    needed = np.isin(np.arange(len(ends)), file_of)
    sizes = np.diff(ends, prepend=0)
    skipped = np.cumsum(np.where(needed, 0, sizes)) if len(ends) else ends
    wanted = wanted - skipped[file_of]
    found = [
        batch.take(pa.array(wanted[low:high] - first))
        for first, batch in source.only(needed.tolist()).batches(columns)
        for low, high in [np.searchsorted(wanted, [first, first + batch.num_rows])]
        if low < high
    ]
    schema = pa.schema([source.group.schema.field(name) for name in columns])
    rows = pa.Table.from_batches(found, schema=schema).combine_chunks()
    places = np.full(len(positions), NO_POSITION)
    places[order] = np.arange(len(order))
    return rows.take(pa.array(places, mask=places == NO_POSITION))
