"""How old a feature may be: while read time - event time <= time to live, offline and online alike."""

from datetime import timedelta
from typing import Any

import pandas as pd

from mlinfra.features.errors import InvalidFeatures


def age_nanoseconds(ttl: Any, what: str = "ttl") -> int | None:
    """A time to live in nanoseconds; None is any age.

    Args:
        ttl: a timedelta or None.
        what: what it is called in messages.

    Raises:
        InvalidFeatures: it is no timedelta, or not longer than zero.
    """
    if ttl is None:
        return None
    if not isinstance(ttl, timedelta):
        raise InvalidFeatures(f"{what} is a datetime.timedelta such as timedelta(days=7), not {ttl!r}")
    if ttl <= timedelta(0):
        raise InvalidFeatures(f"{what} is {ttl}; give one longer than zero, or None for no limit")
    if isinstance(ttl, pd.Timedelta):
        return int(ttl.as_unit("ns").value)
    return ttl // timedelta(microseconds=1) * 1000
