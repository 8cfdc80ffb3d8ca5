"""A Parquet or CSV file as an Arrow table: columns that can be stored, names that can be used."""

import csv
import gzip
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mlinfra.errors import in_a_line
from mlinfra.features.errors import InvalidFeatures
from mlinfra.features.file_names import CSV_SUFFIXES, PARQUET_SUFFIXES
from mlinfra.features.group import DEFAULT_TIME_COLUMN, TIME_COLUMNS
from mlinfra.features.metadata import is_name

MAX_BYTES = 2 * 2**30
"""Of rows in memory: a training holds them all, some of them several times."""
UNNAMED = ("", "__index_level_0__")
"""How pandas calls an index without a name in CSV and Parquet."""
PARQUET_MAGIC = b"PAR1"
DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file's rows.

    Attributes:
        path: the file.
        sha256: hash of its content, in hexadecimal.
        table: its columns; those of a type that cannot be stored are left out.
        notices: what was left out, a line each.
    """

    path: Path
    sha256: str
    table: pa.Table
    notices: tuple[str, ...] = ()


def read_data_file(path: Path, *, as_text: tuple[str, ...] = ()) -> DataFile:
    """Read a file.

    Args:
        path: a Parquet file, or CSV with a header, its values separated by comma, semicolon, tab or bar,
            compressed with gzip or not.
        as_text: columns of a CSV file whose values are not to be interpreted.

    Raises:
        InvalidFeatures: the file is absent, of another kind, damaged or too large, or has a column that
            cannot be used; the message names file and column.
    """
    try:
        if path.stat().st_size == 0:
            raise InvalidFeatures(f"{path} is empty")
        table = _read(path, as_text)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidFeatures(f"{path} cannot be read: {error.strerror or error}") from error
    _check_names(path, table.column_names)
    if len(table) == 0:
        raise InvalidFeatures(f"{path} has columns but no rows")
    columns: dict[str, pa.ChunkedArray] = {}
    notices: list[str] = []
    for name, given in zip(table.column_names, table.columns, strict=True):
        column = _storable(given)
        if column is None:
            notices.append(f"column {name} is left out: it holds {given.type}")
        elif name not in UNNAMED:
            columns[name] = column
        elif pa.types.is_timestamp(column.type) and not set(TIME_COLUMNS) & set(table.column_names):
            columns[DEFAULT_TIME_COLUMN] = column
        else:
            notices.append("a column without a name is left out: an index that pandas wrote")
    return DataFile(path, sha256, pa.table(columns), tuple(notices))


def _read(path: Path, as_text: tuple[str, ...]) -> pa.Table:
    with path.open("rb") as file:
        start = file.read(1024)
    name = path.name.lower()
    if start.startswith(PARQUET_MAGIC):
        return _read_parquet(path)
    if name.endswith(PARQUET_SUFFIXES):
        raise InvalidFeatures(f"{path} is no Parquet file: it does not begin with PAR1")
    if not name.endswith(CSV_SUFFIXES):
        raise InvalidFeatures(
            f"{path} is neither Parquet nor CSV; name it .parquet or .csv, or write its rows with "
            "get_feature_store().write_offline_features(group, frame)"
        )
    if b"\0" in start and not name.endswith(".gz"):
        raise InvalidFeatures(f"{path} is no CSV file: it holds bytes that no text has")
    return _read_csv(path, as_text)


def _read_parquet(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
            _check_size(path, sum(group.total_byte_size for group in groups))
            # What pandas noted of its index would bring names that the file's own columns do not have.
            return file.read().replace_schema_metadata(None)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise InvalidFeatures(
            f"{path} cannot be read as Parquet, it may be cut off: {in_a_line(error)}"
        ) from error


def _read_csv(path: Path, as_text: tuple[str, ...]) -> pa.Table:
    _check_size(path, path.stat().st_size)
    try:
        header, delimiter = _header(path)
        # Before the values are read: of two columns with one name Arrow would interpret one only.
        _check_names(path, header)
        return pacsv.read_csv(
            path,
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types={name: pa.string() for name in as_text if name in header},
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
        raise InvalidFeatures(f"{path} cannot be read as CSV: {in_a_line(error)}") from error


def _header(path: Path) -> tuple[list[str], str]:
    """The names in the first line, and what separates them."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        line = file.readline()
    delimiter = max(DELIMITERS, key=line.count)
    return next(csv.reader([line], delimiter=delimiter), []), delimiter


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise InvalidFeatures(
            f"{path} holds {size / 2**30:.1f} GiB, more than the {MAX_BYTES / 2**30:.0f} GiB that are read "
            "at once; write it in parts with get_feature_store().write_offline_features(group, frame), then "
            "train with --feature-group and a range of dates"
        )


def _check_names(path: Path, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidFeatures(f"{path}: column {twice[0]!r} is there more than once; rename or drop one")
    for name in names:
        if name in UNNAMED:
            continue
        if not is_name(name):
            proposal = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-")
            raise InvalidFeatures(
                f"{path}: column {name!r} cannot name a feature: use letters, digits, underscore, dot and "
                f"hyphen{f', such as {proposal}' if proposal else ''}"
            )


def _storable(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """The column in a type that the store holds; None where there is none."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _storable(column.cast(kind.value_type))
    if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        return _storable(column.cast(pa.float64()))
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("us"))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
    kept = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_string)
    if pa.types.is_timestamp(kind) or pa.types.is_null(kind) or any(each(kind) for each in kept):
        return column
    return None


def infinite_columns(table: pa.Table) -> Iterator[tuple[str, int, int]]:
    """Name, number of infinite values and first row (from 1) of each column that has any."""
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_floating(column.type):
            infinite = pc.is_inf(column)
            if count := pc.sum(infinite).as_py():
                yield name, count, pc.index(infinite, pa.scalar(True)).as_py() + 1
