"""A file of one's own into the feature store: its columns become features, its rows those of a group.

The same file again writes nothing. A file that has grown adds its new rows, and fills values that were
missing; a value that differs from the stored one is refused, since a training has learnt from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlinfra.errors import suggestion
from mlinfra.features.data_file import DataFile, infinite_columns, read_data_file
from mlinfra.features.errors import FeatureConflict, InvalidFeatures
from mlinfra.features.event_times import event_times, time_column_of, with_times
from mlinfra.features.file_names import group_name
from mlinfra.features.group import (
    CREATED_COLUMN,
    TIME_COLUMNS,
    FeatureGroup,
)
from mlinfra.features.metadata import FeatureMetadata
from mlinfra.features.parquet_files import NULLABLE_TYPES
from mlinfra.features.store import FeatureStore

DEFAULT_ENTITY_COLUMN = "entity"
FEATURE_TYPE = "imported"
LABEL_TYPE = "label"
HASH = " sha256:"
Rows = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """What a file left in the store.

    Attributes:
        feature_group: the group that holds its rows.
        label: the column to predict.
        entity_column, time_column: the group's keys.
        rows: number of rows of the file.
        written: how many of them were written; 0 where the store held them all.
        first_time, last_time: of its rows, in UTC.
        notices: what else a person should know, a sentence each.
    """

    feature_group: str
    label: str
    entity_column: str
    time_column: str
    rows: int
    written: int
    first_time: datetime
    last_time: datetime
    notices: tuple[str, ...]


def import_file(
    store: FeatureStore,
    path: Path,
    *,
    label: str,
    timestamp: str | None = None,
    entity: str | None = None,
    one_entity: bool = False,
    feature_group: str | None = None,
) -> ImportedFile:
    """Register a file's columns as features and write its rows to a feature group.

    Args:
        store: where to.
        path: a Parquet or CSV file; see `mlinfra.features.data_file.read_data_file`.
        label: column to predict.
        timestamp: column of the event time; by default ``event_timestamp``, ``timestamp``, or the one
            column of times. It is stored as ``event_timestamp``.
        entity: column of the entity's key; by default the one column of texts besides the label.
        one_entity: all rows are of one entity; so it is too where no column holds text. It is stored as
            the column ``entity``, whose one value is the group's name.
        feature_group: name of the group; the file's name by default.

    Raises:
        InvalidFeatures: the file cannot be used; the message names file, column and row.
        FeatureConflict: the group holds other values, columns or keys.
    """
    group = feature_group or group_name(path)
    file = read_data_file(path, as_text=(timestamp,) if timestamp else TIME_COLUMNS)
    time_from = time_column_of(file, timestamp)
    _check_label(file, label, time_from)
    instants, how = event_times(file.table.column(time_from), f"{path}: column {time_from!r}")
    table, time_column = with_times(file, time_from, instants)
    before = store.get_feature_group(group) if group in store.list_feature_groups() else None
    if entity is None and before is not None and before.entity_column in table.column_names:
        entity = before.entity_column
    table, entity_column, told = _with_entity(file, table, entity, one_entity, label=label, group=group)
    _check_values(path, table)
    frame = table.to_pandas(types_mapper=_nullable(table))
    _check_keys(path, frame, entity_column, time_column)
    fresh = frame
    if before is not None:
        frame, time_column = _as_in_group(path, frame, before, entity_column, time_column)
        fresh = frame[_rows_to_write(path, frame, store.read_offline_features(group), before)]
    notices = [*file.notices, *told, *([f"column {time_from} is {how}"] if how else [])]
    if len(fresh):
        store.write_offline_features(group, fresh, entity_column=entity_column)
    notices += _register(store, file, table, label=label, keys=(entity_column, time_column))
    return ImportedFile(
        feature_group=group,
        label=label,
        entity_column=entity_column,
        time_column=time_column,
        rows=len(frame),
        written=len(fresh),
        first_time=frame[time_column].min().to_pydatetime(),
        last_time=frame[time_column].max().to_pydatetime(),
        notices=tuple(notices),
    )


def _check_label(file: DataFile, label: str, time_from: str) -> None:
    names = [name for name in file.table.column_names if name != time_from]
    if label not in names:
        raise InvalidFeatures(f"{file.path} has no column {label!r} to predict; {suggestion(label, names)}")
    column = file.table.column(label)
    if column.null_count == len(column):
        raise InvalidFeatures(f"{file.path}: label {label!r} has no value in any row")
    if pc.count_distinct(column, mode="only_valid").as_py() == 1:
        only = pc.drop_null(column)[0].as_py()
        raise InvalidFeatures(
            f"{file.path}: label {label!r} is {only!r} in every row, so there is nothing to learn"
        )


def _with_entity(
    file: DataFile, table: pa.Table, entity: str | None, one_entity: bool, *, label: str, group: str
) -> tuple[pa.Table, str, list[str]]:
    """The table with a column that tells whose row it is, that column, and how it was found."""
    names = table.column_names
    if entity is not None:
        if entity not in names:
            raise InvalidFeatures(
                f"{file.path} has no column {entity!r} for the entity; {suggestion(entity, names)}"
            )
        return table, entity, []
    texts = [name for name in names if pa.types.is_string(table.column(name).type) and name != label]
    _refuse_almost_numbers(file.path, table, texts)
    if len(texts) == 1 and not one_entity:
        return table, texts[0], [f"column {texts[0]} tells the entity, as the only one that holds text"]
    if len(texts) > 1 and not one_entity:
        raise InvalidFeatures(
            f"{file.path}: which column tells the entity? {', '.join(texts)} all hold text; name it with "
            "--entity (entity=), or say --one-entity (one_entity=True) where all rows are of one"
        )
    if DEFAULT_ENTITY_COLUMN in names:
        raise InvalidFeatures(
            f"{file.path}: column {DEFAULT_ENTITY_COLUMN!r} holds no text; if it tells the entity name it "
            "with --entity (entity=), else rename it"
        )
    value = pa.repeat(pa.scalar(group), len(table))
    notice = f"all rows are of one entity, kept as column {DEFAULT_ENTITY_COLUMN} with the value {group}"
    return table.add_column(0, DEFAULT_ENTITY_COLUMN, value), DEFAULT_ENTITY_COLUMN, [notice]


def _refuse_almost_numbers(path: Path, table: pa.Table, texts: Sequence[str]) -> None:
    """One bad cell makes a column of numbers one of texts, which must not be taken for the entity."""
    for name in texts:
        given = table.column(name).to_pandas()
        no_number = given.notna() & pd.to_numeric(given, errors="coerce").isna()
        if no_number.sum() < given.notna().sum() / 2:
            row = int(no_number.to_numpy().argmax())
            raise InvalidFeatures(
                f"{path}: column {name!r} holds numbers but for {no_number.sum()} values, the first "
                f"{given.iloc[row]!r} in row {row + 1}; mend or empty them, or if it tells the entity name "
                "it with --entity (entity=)"
            )


def _check_values(path: Path, table: pa.Table) -> None:
    infinite = next(infinite_columns(table), None)
    if infinite is not None:
        name, count, row = infinite
        raise InvalidFeatures(
            f"{path}: column {name!r} has {count} infinite values, the first in row {row}; replace them, or "
            "leave them empty"
        )
    for name in table.column_names:
        if pa.types.is_null(table.column(name).type):
            raise InvalidFeatures(f"{path}: column {name!r} has no value in any row; drop it")


def _check_keys(path: Path, frame: pd.DataFrame, entity_column: str, time_column: str) -> None:
    missing = frame[entity_column].isna().to_numpy()
    if missing.any():
        raise InvalidFeatures(
            f"{path}: column {entity_column!r} tells no entity in {missing.sum()} of {len(frame)} rows, "
            f"first in row {missing.argmax() + 1}"
        )
    again = frame.duplicated(subset=[entity_column, time_column]).to_numpy()
    if again.any():
        row = int(again.argmax())
        raise InvalidFeatures(
            f"{path}: {again.sum()} rows repeat an earlier one in {entity_column} and time, first row "
            f"{row + 1} ({frame[entity_column].iloc[row]}, {frame[time_column].iloc[row]}); keep one row "
            "each, or name the column that tells them apart with --entity"
        )


def _nullable(table: pa.Table) -> Any:
    """Types that keep whole numbers and booleans where some are missing."""
    kinds = {table.column(name).type for name in table.column_names if table.column(name).null_count}
    return {kind: NULLABLE_TYPES[kind] for kind in kinds if kind in NULLABLE_TYPES}.get


def _as_in_group(
    path: Path, frame: pd.DataFrame, group: FeatureGroup, entity_column: str, time_column: str
) -> tuple[pd.DataFrame, str]:
    """The frame with the group's name and zone of the event time, where its columns are all there."""
    if entity_column != group.entity_column:
        raise FeatureConflict(
            f"{path}: the entity is told by {entity_column!r}, and feature group {group.name!r} has "
            f"{group.entity_column!r}; give --entity {group.entity_column}, or another --feature-group"
        )
    frame = frame.rename(columns={time_column: group.time_column})
    absent = [name for name in group.columns if name not in frame.columns]
    if absent:
        raise FeatureConflict(
            f"{path} has no column {', '.join(absent)}, which feature group {group.name!r} has; add it, or "
            "give another --feature-group"
        )
    if group.time_type.tz is None:
        frame[group.time_column] = frame[group.time_column].dt.tz_localize(None)
    return frame, group.time_column


def _rows_to_write(path: Path, frame: pd.DataFrame, held: pd.DataFrame, group: FeatureGroup) -> Rows:
    """Which rows the group does not hold, or holds with values missing that are known now, (rows,)."""
    keys = [group.entity_column, group.time_column]
    unit = "ns" if "ns" in (held[keys[1]].dt.unit, frame[keys[1]].dt.unit) else "us"
    index, wanted = (
        pd.MultiIndex.from_arrays([each[keys[0]], each[keys[1]].dt.as_unit(unit)]) for each in (held, frame)
    )
    position = index.get_indexer(wanted)
    write: Rows = position < 0
    both = np.flatnonzero(~write)
    for name in frame.columns:
        if name in keys or name == CREATED_COLUMN:
            continue
        given = frame[name].iloc[both]
        known = given.notna().to_numpy()
        if name not in held.columns:
            write[both[known]] = True
            continue
        stored = held[name].iloc[position[both]]
        stored_known = stored.notna().to_numpy()
        differs = stored_known & ~(known & _equal(given, stored))
        if differs.any():
            first = both[int(differs.argmax())]
            raise FeatureConflict(
                f"{path}: column {name!r} differs in {differs.sum()} rows from what feature group "
                f"{group.name!r} holds, first in row {first + 1} ({frame[keys[0]].iloc[first]}, "
                f"{frame[keys[1]].iloc[first]}): {given.iloc[int(differs.argmax())]} here, "
                f"{stored.iloc[int(differs.argmax())]} there; give another --feature-group, or correct the "
                "rows with get_feature_store().write_offline_features, where the newest count"
            )
        write[both[known & ~stored_known]] = True
    return write


def _equal(given: "pd.Series[Any]", stored: "pd.Series[Any]") -> Rows:
    if isinstance(given.dtype, pd.DatetimeTZDtype) != isinstance(stored.dtype, pd.DatetimeTZDtype):
        # Whether a time has a zone is part of its column's type, which the write refuses to change.
        return np.ones(len(given), dtype=np.bool_)
    equal = given.reset_index(drop=True) == stored.reset_index(drop=True)
    return equal.fillna(False).to_numpy(dtype=np.bool_)


def _register(
    store: FeatureStore, file: DataFile, table: pa.Table, *, label: str, keys: Sequence[str]
) -> list[str]:
    """Register the columns that are not; gives a notice of those that somebody else has defined."""
    known: dict[str, list[FeatureMetadata]] = {}
    for each in store.list_features():
        known.setdefault(each.name, []).append(each)
    elsewhere = []
    for name in table.column_names:
        if name in (*keys, CREATED_COLUMN):
            continue
        definition = _definition(file, table, name, label=label)
        versions = known.get(name, [])
        if any(each.feature_type not in (FEATURE_TYPE, LABEL_TYPE) for each in versions):
            elsewhere.append(name)
        elif not any(_same(each, definition) for each in versions):
            version = f"{len(versions) + 1}.0"
            store.register_feature(definition.model_copy(update={"version": version}))
    return [f"defined before, and left as they are: {', '.join(elsewhere)}"] if elsewhere else []


def _definition(file: DataFile, table: pa.Table, name: str, *, label: str) -> FeatureMetadata:
    kind = "Label" if name == label else "Column"
    return FeatureMetadata(
        name=name,
        description=f"{kind} {name} of {file.path.name}.",
        feature_type=LABEL_TYPE if name == label else FEATURE_TYPE,
        data_type=str(table.column(name).type),
        source=f"{file.path.name}{HASH}{file.sha256}",
    )


def _same(one: FeatureMetadata, other: FeatureMetadata) -> bool:
    """Whether two definitions mean the same: a file that has grown defines its columns no other way."""
    source = one.source.partition(HASH)[0] == other.source.partition(HASH)[0]
    return source and one.model_copy(update={"version": other.version, "source": other.source}) == other
