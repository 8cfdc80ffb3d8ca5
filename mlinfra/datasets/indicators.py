"""Indicators of daily prices: the value of a day uses that day and those before it, never one after."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

Values: TypeAlias = "pd.Series[float]"
"""One value a trading day, shape (days,), in order of time; null where there is too little history."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Daily bars: prices in index points, volume in shares."""

    open: Values
    high: Values
    low: Values
    close: Values
    volume: Values

    @property
    def log_return(self) -> Values:
        """Logarithm of today's close over yesterday's."""
        return log_ratio(self.close, self.close.shift(1))

    @property
    def log_range(self) -> Values:
        """Logarithm of the day's high over its low."""
        return log_ratio(self.high, self.low)


def log_ratio(values: Values, base: Values) -> Values:
    """Natural logarithm of the one over the other."""
    return pd.Series(np.log(values / base), index=values.index)


def realised_volatility(prices: Prices, days: int) -> Values:
    """Root mean square of the daily log returns of the last ``days`` days, as a fraction a day."""
    mean_square = (prices.log_return**2).rolling(days).mean()
    return mean_square.pow(0.5)


def relative_strength(prices: Prices, days: int) -> Values:
    """Wilder's relative strength index over ``days`` days, 0 to 100; 50 where nothing moved."""
    change = prices.close.diff()
    gain = _wilder_mean(change.clip(lower=0), days)
    moved = _wilder_mean(change.abs(), days)
    return (100 * gain / moved).mask(moved == 0, 50.0)


def momentum(prices: Prices, days: int) -> Values:
    """Log return over the last ``days`` days."""
    return log_ratio(prices.close, prices.close.shift(days))


def drawdown(prices: Prices, days: int) -> Values:
    """Logarithm of the close over the highest close of the last ``days`` days, 0 or below."""
    return log_ratio(prices.close, prices.close.rolling(days).max())


def volume_ratio(prices: Prices, days: int) -> Values:
    """The day's volume over its mean of the last ``days`` days."""
    return prices.volume / prices.volume.rolling(days).mean()


def _wilder_mean(values: Values, days: int) -> Values:
    return values.ewm(alpha=1 / days, adjust=False, min_periods=days).mean()
