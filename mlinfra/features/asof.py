"""The ASOF join: for each row, the newest row of a feature group that was there by then."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlinfra.features.errors import FeatureStoreUnavailable, InvalidFeatures

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Positions = npt.NDArray[np.int64]
NO_POSITION = -1

KEYS = pa.schema(
    [("entity", pa.int32()), ("moment", pa.int64()), ("created", pa.int64()), ("position", pa.int64())]
)
"""What is joined of a feature group: the number of its entity, event time, creation time, and where it is."""

ALL = "SELECT entity, moment, position FROM keys"
NEWEST_OF_KEY = (
    f"{ALL} QUALIFY row_number() OVER (PARTITION BY entity, moment ORDER BY created DESC, position DESC) = 1"
)
MATCHES = """
    SELECT wanted.number, source.position
    FROM wanted ASOF JOIN ({source}) AS source
      ON wanted.entity = source.entity AND wanted.latest >= source.moment
    WHERE source.moment >= wanted.earliest
"""


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """What a join may use.

    Attributes:
        memory_limit: memory of the join itself, such as ``"2GB"``; DuckDB's default, 80 % of the machine's,
            where absent. What does not fit goes to ``temp_folder``.
        temp_folder: where that goes; the system's folder for temporary files where absent.
    """

    memory_limit: str | None = None
    temp_folder: Path | None = None


def matching_positions(
    entities: pa.Array,
    latest: npt.NDArray[np.int64],
    earliest: npt.NDArray[np.int64] | None,
    keys: Iterator[pa.RecordBatch],
    key_schema: pa.Schema,
    *,
    unique: bool,
    settings: JoinSettings,
) -> Positions:
    """Where the newest row of each entity is that is not after ``latest`` nor before ``earliest``.

    Args:
        entities: number of each row's entity, int32, null where it has none, (rows,).
        latest, earliest: bounds of the event time in the unit of the keys, both included, (rows,).
        keys: of the group's rows. Of those with one entity and moment the one created last counts, and of
            those the one with the highest position.
        key_schema: `KEYS`; where ``unique``, ``created`` may be left out.
        unique: no two keys have the same entity and moment.
        settings: what the join may use.

    Returns:
        A position for each row, `NO_POSITION` where there is none, (rows,).

    Raises:
        FeatureStoreUnavailable: memory or disk do not suffice.
        Exception: whatever ``keys`` raises.
    """
    import duckdb

    failures: list[BaseException] = []

    def noting_failures() -> Iterator[pa.RecordBatch]:
        try:
            yield from keys
        except BaseException as error:
            # DuckDB makes an error of its own of it, with the original as text.
            failures.append(error)
            raise

    numbers = np.arange(len(entities))
    positions = np.full(len(entities), NO_POSITION)
    lowest = np.full_like(latest, np.iinfo(np.int64).min) if earliest is None else earliest
    wanted = pa.table({"entity": entities, "latest": latest, "earliest": lowest, "number": numbers})
    query = MATCHES.format(source=ALL if unique else NEWEST_OF_KEY)
    try:
        with _connection(settings) as connection:
            connection.register("wanted", wanted)
            reader = pa.RecordBatchReader.from_batches(key_schema, noting_failures())
            connection.register("keys", reader)
            matches = connection.sql(query).to_arrow_table()
    except duckdb.Error as error:
        if failures:
            raise failures[0] from None
        if not isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException):
            raise
        raise FeatureStoreUnavailable(
            f"the point-in-time join ran out of memory or disk: {error}; give JoinSettings with a higher "
            "memory_limit or a roomier temp_folder, or join fewer rows at a time"
        ) from error
    positions[matches.column("number").to_numpy()] = matches.column("position").to_numpy()
    return positions


@contextmanager
def _connection(settings: JoinSettings) -> Iterator["DuckDBPyConnection"]:
    import duckdb

    folder = settings.temp_folder or Path(tempfile.gettempdir())
    config: dict[str, str | bool | int | float | list[str]] = {
        # By default it would be a folder .tmp where the process happens to run.
        "temp_directory": str(folder / f"mlinfra-join-{uuid.uuid4().hex}"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if settings.memory_limit is not None:
        config["memory_limit"] = settings.memory_limit
    try:
        connection = duckdb.connect(":memory:", config=config)
    except duckdb.Error as error:
        raise InvalidFeatures(
            f"{settings} cannot be used: {error}; write the memory limit as '2GB' or '500MB'"
        ) from error
    with connection:
        yield connection
