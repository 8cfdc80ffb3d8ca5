"""From the offline store to the online one: the newest row of each entity."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from mlinfra.features.commits import CommitMark
from mlinfra.features.errors import CorruptFeatures
from mlinfra.features.group import CREATED_COLUMN, FeatureGroup
from mlinfra.features.group_files import GroupFiles
from mlinfra.features.offline import OfflineStore
from mlinfra.features.online.group import DEFAULT_VERSION, OnlineGroup
from mlinfra.features.online.inputs import given_table, key_type, nanoseconds
from mlinfra.features.online.store import OnlineStore, check_name
from mlinfra.features.timerange import Moment, time_range
from mlinfra.features.validation import mistakes

ROWS_AT_ONCE = 20_000
"""Rows in one write: it bounds for how long other writers of the store wait."""
ROWS_HELD = 500_000
"""Rows in memory before the superseded ones among them are dropped."""


class _Watermark(BaseModel):
    """Up to which commit of the offline group all rows are online."""

    model_config = ConfigDict(frozen=True)

    commit: int
    committed_at: datetime


def materialize(
    online: OnlineStore,
    offline: OfflineStore,
    name: str,
    *,
    start: Moment | None,
    end: Moment | None,
    version: str | None,
    force: bool,
) -> int:
    """See `FeatureStore.materialize`."""
    check_name(version)
    files = offline.files_of(name)
    period = time_range(start, end, files.group.time_type)
    return _write(online, files.within(period), version or DEFAULT_VERSION, force=force)


def materialize_incremental(
    online: OnlineStore, offline: OfflineStore, name: str, *, version: str | None
) -> int:
    """See `FeatureStore.materialize_incremental`.

    The watermark is a commit, not an event time: a row that comes late, older than what is online
    already, is in a commit of its own all the same, so it is never passed over. It is stored when every
    row up to it is online. Whoever dies before that, or runs twice, only writes rows again that are there
    already, and older rows never replace newer ones.
    """
    check_name(version)
    wanted = version or DEFAULT_VERSION
    group = online.backend.group(name, wanted)
    files, newest = offline.files_since(name, _mark(online, group) if group else None)
    stored = _write(online, files, wanted, force=False)
    group = group or online.group(name, wanted)
    watermark = _Watermark(commit=newest.commit, committed_at=newest.committed_at)
    online.backend.set_watermark(group, watermark.model_dump_json().encode())
    return stored


def _mark(online: OnlineStore, group: OnlineGroup) -> CommitMark | None:
    stored = online.backend.watermark(group)
    if stored is None:
        return None
    try:
        watermark = _Watermark.model_validate_json(stored)
    except ValidationError as error:
        raise CorruptFeatures(
            f"the watermark of feature group {group.name!r} in {online.backend.place} cannot be read: "
            f"{mistakes(error)}"
        ) from error
    return CommitMark(watermark.commit, watermark.committed_at)


def _write(online: OnlineStore, files: GroupFiles, version: str, *, force: bool) -> int:
    group = files.group
    rows = _newest(files)
    stored = 0
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows.slice(start, ROWS_AT_ONCE)
        keys = part.column(group.entity_column).to_pylist()
        given = given_table(
            part.select(group.features),
            nanoseconds(part, group.time_column),
            nanoseconds(part, CREATED_COLUMN),
            group=group.name,
        )
        stored += online.write_given(group.name, version, keys, key_type(keys), given, force=force)
    return stored


def _newest(files: GroupFiles) -> pa.Table:
    """The newest row of each entity among those that count."""
    held: list[pa.Table] = []
    for batch in _counting(files):
        held.append(batch)
        if sum(map(len, held)) > ROWS_HELD:
            held = [newest_of_entity(held, files.group)]
    columns = _columns(files.group)
    return newest_of_entity(held, files.group) if held else files.group.schema.empty_table().select(columns)


def newest_of_entity(tables: Sequence[pa.Table], group: FeatureGroup) -> pa.Table:
    """The row of each entity with the latest event, of these the one created last."""
    table = pa.concat_tables(tables).combine_chunks()
    names = (group.entity_column, group.time_column, CREATED_COLUMN)
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names])
    entities = table.column(group.entity_column).combine_chunks().take(order)
    last = np.ones(len(entities), np.bool_)
    last[:-1] = pc.not_equal(entities[1:], entities[:-1]).to_numpy(zero_copy_only=False)
    return table.take(order.filter(pa.array(last)))


def _counting(files: GroupFiles) -> Iterator[pa.Table]:
    rows = files.period.expression(files.group.time_column)
    for _, batch in files.batches(_columns(files.group)):
        table = pa.Table.from_batches([batch])
        if rows is not None:
            table = table.filter(rows)
        if len(table):
            yield table


def _columns(group: FeatureGroup) -> list[str]:
    return [group.entity_column, group.time_column, CREATED_COLUMN, *group.features]
