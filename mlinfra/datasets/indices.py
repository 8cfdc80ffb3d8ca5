"""Daily history of the S&P 500 and the NASDAQ Composite with features and label.

`arch` takes a second to import, so only loading does.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import cast

import pandas as pd

from mlinfra.datasets.daily_features import LABEL, features_of, label_of
from mlinfra.datasets.indicators import Prices

ENTITY_COLUMN = "symbol"
TIME_COLUMN = "event_timestamp"
CLOSING_TIME = timedelta(hours=16)
EXCHANGE_TIME_ZONE = "America/New_York"


def sp500_daily() -> pd.DataFrame:
    """S&P 500: one row a trading day from 1999 to 2018, in order of time; see `with_features`."""
    import arch.data.sp500

    return with_features(_load(arch.data.sp500.load), symbol="^GSPC")


def nasdaq_daily() -> pd.DataFrame:
    """NASDAQ Composite: one row a trading day from 1999 to 2018, in order of time; see `with_features`."""
    import arch.data.nasdaq

    return with_features(_load(arch.data.nasdaq.load), symbol="^IXIC")


def with_features(history: pd.DataFrame, *, symbol: str) -> pd.DataFrame:
    """Features and label of a daily history.

    Args:
        history: columns ``Open``, ``High``, ``Low``, ``Close``, ``Volume``; indexed by date.
        symbol: the entity's key, for every row.

    Returns:
        ``event_timestamp``: the day's close in UTC, when the features are known; ``symbol``; one column a
        feature; ``turbulent``: 1 or 0. The first days, whose features lack history, and the last five,
        whose label is not known yet, are left out.
    """
    prices = Prices(
        open=history["Open"],
        high=history["High"],
        low=history["Low"],
        close=history["Close"],
        volume=history["Volume"],
    )
    frame = features_of(prices)
    frame[LABEL] = label_of(prices)
    frame = frame.dropna()
    frame[LABEL] = frame[LABEL].astype("int64")
    frame.insert(0, TIME_COLUMN, _closing_times(cast(pd.DatetimeIndex, frame.index)))
    frame.insert(1, ENTITY_COLUMN, symbol)
    return frame.reset_index(drop=True)


def _load(load: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    return load().sort_index()


def _closing_times(dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return (dates + CLOSING_TIME).tz_localize(EXCHANGE_TIME_ZONE).tz_convert("UTC")
