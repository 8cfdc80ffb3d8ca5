"""What a model must beat: answers that need no learning, for the same samples.

The last value ("persistence") answers with the newest label of the entity that is known when a sample's
row arrives. A label that looks ``embargo`` rows ahead is known only that many rows later, so the newest
known label is that of the row ``embargo`` rows before; at least of the row before, since a row's own
label is what is asked for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def last_known(
    label: NDArray[Any], entity: NDArray[np.int64], rows: NDArray[np.int64], *, embargo: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The newest label known at each of ``rows``.

    Args:
        label: of every row, in order of entity, then time, (all rows,).
        entity: number of each row's entity, (all rows,).
        rows: positions of the rows asked for, (rows,).
        embargo: how many rows the label looks ahead.

    Returns:
        The labels, (rows,), and where there is one: not at the beginning of an entity, (rows,).
    """
    source = rows - max(embargo, 1)
    reachable = np.maximum(source, 0)
    return label[reachable], (source >= 0) & (entity[reachable] == entity[rows])
