"""What the name of a data file says: its kind, and the feature group that is named after it."""

import re
from pathlib import Path

CSV_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt")
PARQUET_SUFFIXES = (".parquet", ".pq")


def group_name(path: Path) -> str:
    """The feature group that a file is named after: ``prices.csv.gz`` makes ``prices``."""
    stem = path.name
    for suffix in sorted((*CSV_SUFFIXES, *PARQUET_SUFFIXES), key=len, reverse=True):
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip("_.-")[:128] or "data"
