"""The features of daily prices, each beside its definition, and the label that looks ahead.

A feature of day t uses prices up to the close of day t; the label of day t uses the five days after it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from mlinfra.datasets.indicators import (
    Prices,
    Values,
    drawdown,
    log_ratio,
    momentum,
    realised_volatility,
    relative_strength,
    volume_ratio,
)
from mlinfra.features import Expectations, FeatureMetadata

LABEL = "turbulent"
LABEL_DAYS = 5
"""How many days the label looks ahead: an embargo must be at least as long."""
TURBULENT_DAILY_RETURN = 0.01
SOURCE = "mlinfra.datasets.daily_features"
NOT_NEGATIVE = Expectations(minimum=0)


@dataclass(frozen=True, slots=True)
class DailyFeature:
    """A feature's definition and how it is computed."""

    definition: FeatureMetadata
    compute: Callable[[Prices], Values]


def _feature(
    name: str,
    description: str,
    uses: str,
    compute: Callable[[Prices], Values],
    expectations: Expectations | None = None,
) -> DailyFeature:
    definition = FeatureMetadata(
        name=name,
        version="1.1",
        description=description,
        feature_type="technical",
        data_type="float",
        source=SOURCE,
        dependencies=tuple(uses.split()),
        expectations=expectations,
    )
    return DailyFeature(definition, compute)


def _momentum(days: int) -> DailyFeature:
    return _feature(
        f"momentum_{days}",
        f"Log return over {days} days.",
        "raw:close",
        lambda prices: momentum(prices, days),
    )


def _volatility(days: int) -> DailyFeature:
    return _feature(
        f"volatility_{days}",
        f"Realised volatility: root mean square daily log return over {days} days.",
        "log_return",
        lambda prices: realised_volatility(prices, days),
        NOT_NEGATIVE,
    )


FEATURES = (
    _feature(
        "log_return", "Log return of the day, close to close.", "raw:close", lambda prices: prices.log_return
    ),
    _feature(
        "overnight_gap",
        "Log of the open over the close of the day before.",
        "raw:open raw:close",
        lambda prices: log_ratio(prices.open, prices.close.shift(1)),
    ),
    _momentum(5),
    _momentum(20),
    _momentum(60),
    _feature(
        "rsi_14",
        "Wilder's relative strength index over 14 days, 0 to 100.",
        "raw:close",
        lambda prices: relative_strength(prices, 14),
        Expectations(minimum=0, maximum=100),
    ),
    _volatility(5),
    _volatility(10),
    _volatility(20),
    _volatility(60),
    _feature(
        "volatility_ratio",
        "Realised volatility over 5 days over that of 60: above 1 while turbulence rises.",
        "volatility_5 volatility_60",
        lambda prices: realised_volatility(prices, 5) / realised_volatility(prices, 60),
        NOT_NEGATIVE,
    ),
    _feature(
        "range",
        "Log of the day's high over its low.",
        "raw:high raw:low",
        lambda prices: prices.log_range,
        NOT_NEGATIVE,
    ),
    _feature(
        "range_10",
        "Mean of the range over 10 days.",
        "range",
        lambda prices: prices.log_range.rolling(10).mean(),
        NOT_NEGATIVE,
    ),
    _feature(
        "volume_ratio",
        "The day's volume over its mean of the last 20 days.",
        "raw:volume",
        lambda prices: volume_ratio(prices, 20),
        NOT_NEGATIVE,
    ),
    _feature(
        "drawdown_60",
        "Log of the close over the highest close of the last 60 days, 0 or below.",
        "raw:close",
        lambda prices: drawdown(prices, 60),
        Expectations(maximum=0),
    ),
)

LABEL_DEFINITION = FeatureMetadata(
    name=LABEL,
    version="1.1",
    description=f"Label: 1 where the root mean square daily log return of the next {LABEL_DAYS} days is "
    f"above {TURBULENT_DAILY_RETURN:.0%}, else 0.",
    feature_type="label",
    data_type="int",
    source=SOURCE,
    dependencies=("log_return",),
    expectations=Expectations(allowed_values=(0, 1)),
)


def features_of(prices: Prices) -> pd.DataFrame:
    """Every feature of every day, shape (days, features); null where there is too little history."""
    return pd.DataFrame({each.definition.name: each.compute(prices) for each in FEATURES})


def label_of(prices: Prices) -> Values:
    """1 where the days after are turbulent, else 0, shape (days,); null on the last `LABEL_DAYS` days."""
    ahead = realised_volatility(prices, LABEL_DAYS).shift(-LABEL_DAYS)
    return (ahead > TURBULENT_DAILY_RETURN).astype("float64").where(ahead.notna())
