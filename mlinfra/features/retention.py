"""Retention: rows of long ago leave a group, in whole files.

One commit removes the files, and a vacuum deletes them later: readers that have them in hand go on. A file
stays where its period overlaps that of one that stays: of the same entity and event time an older row might
come to light again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from mlinfra.features.commits import DataFile
from mlinfra.features.parquet_files import in_order_of_time, overlapping


@dataclass(frozen=True, slots=True)
class DropReport:
    """What was dropped, or would be.

    Attributes:
        feature_group: name of the group.
        files, rows, bytes: how many, and their size.
    """

    feature_group: str
    files: int
    rows: int
    bytes: int


def to_drop(
    files: Sequence[DataFile], before: np.datetime64, *, kept: Collection[str] = ()
) -> list[DataFile]:
    """Files whose rows are all of earlier event times, and that none which stays overlaps in time.

    Args:
        files: all files of the group.
        before: in UTC.
        kept: paths of files that stay in any case.
    """
    return [
        file
        for cluster in overlapping(in_order_of_time(files))
        if all(np.datetime64(each.last_event) < before and each.path not in kept for each in cluster)
        for file in cluster
    ]


def report_of_drop(name: str, dropped: Sequence[DataFile]) -> DropReport:
    """The report of files that were dropped from a group."""
    return DropReport(
        name, len(dropped), sum(each.rows for each in dropped), sum(each.bytes for each in dropped)
    )
