"""Rows read, as the kind of frame that is asked for."""

from typing import TYPE_CHECKING, Literal, get_args

import pandas as pd
import pyarrow as pa

from mlinfra.features.errors import InvalidFeatures
from mlinfra.features.parquet_files import to_pandas

if TYPE_CHECKING:
    import polars

FrameKind = Literal["pandas", "arrow", "polars"]


def as_frame(table: pa.Table, kind: FrameKind) -> "pd.DataFrame | pa.Table | polars.DataFrame":
    """The table as a pandas DataFrame, itself, or a Polars DataFrame.

    Raises:
        InvalidFeatures: Polars is not installed.
    """
    if kind == "arrow":
        return table
    if kind == "pandas":
        return to_pandas(table)
    try:
        import polars
    except ImportError as error:
        raise InvalidFeatures("as_='polars' needs Polars: pip install 'mlinfra[polars]'") from error
    return polars.from_arrow(table)


def check_kind(kind: str) -> None:
    """Refuse what is no kind of frame with `InvalidFeatures`."""
    if kind not in get_args(FrameKind):
        raise InvalidFeatures(f"as_ is one of {', '.join(get_args(FrameKind))}, not {kind!r}")
