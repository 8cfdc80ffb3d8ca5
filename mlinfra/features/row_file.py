"""Rows to write, from a Parquet or CSV file."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from mlinfra.errors import suggestion
from mlinfra.features.errors import InvalidFeatures
from mlinfra.features.group import DEFAULT_TIME_COLUMN, TIME_COLUMNS


def read_row_file(path: Path, timestamp: str | None = None) -> pd.DataFrame:
    """The rows of a file, with the event time under a name that the store knows.

    Args:
        path: a ``.parquet`` or ``.csv`` file.
        timestamp: column of the event time; ``event_timestamp`` or ``timestamp`` by default.

    Raises:
        InvalidFeatures: the file cannot be read, or its event time; the message names both.
    """
    try:
        with path.open("rb"):
            pass
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif path.suffix == ".csv":
            frame = pd.read_csv(path)
        else:
            raise InvalidFeatures(f"{path} is neither .parquet nor .csv")
    except (OSError, pa.ArrowException, ValueError) as error:
        told = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InvalidFeatures(f"{path} cannot be read: {told}") from error
    if timestamp is not None:
        if timestamp not in frame.columns:
            known = suggestion(timestamp, map(str, frame.columns))
            raise InvalidFeatures(f"{path} has no column {timestamp!r}; {known}")
        frame = frame.rename(columns={timestamp: DEFAULT_TIME_COLUMN})
    for name in TIME_COLUMNS:
        if name in frame.columns and path.suffix == ".csv":
            try:
                frame[name] = pd.to_datetime(frame[name], format="ISO8601", utc=True)
            except ValueError as error:
                raise InvalidFeatures(f"{path}: column {timestamp or name!r} is no time: {error}") from error
    return frame
