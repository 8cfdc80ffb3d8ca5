"""Features of daily prices: right by definition, and blind to the future."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.datasets import nasdaq_daily, sp500_daily
from mlinfra.datasets.daily_features import FEATURES, LABEL_DAYS, features_of, label_of
from mlinfra.datasets.indicators import Prices, realised_volatility, relative_strength
from mlinfra.datasets.indices import with_features

DAYS = 160
NAMES = [each.definition.name for each in FEATURES]


def history(days: int = DAYS, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    close = 1000 * np.exp(np.cumsum(random.normal(0, 0.01, days)))
    spread = np.abs(random.normal(0, 0.005, (2, days)))
    return pd.DataFrame(
        {
            "Open": close * np.exp(random.normal(0, 0.002, days)),
            "High": close * np.exp(spread[0]),
            "Low": close * np.exp(-spread[1]),
            "Close": close,
            "Volume": random.integers(1, 10**9, days),
        },
        index=pd.bdate_range("2001-01-01", periods=days),
    )


def prices_of(frame: pd.DataFrame) -> Prices:
    return Prices(frame["Open"], frame["High"], frame["Low"], frame["Close"], frame["Volume"])


@given(day=st.integers(0, DAYS - 1), seed=st.integers(0, 100))
@settings(max_examples=30)
def test_another_future_changes_no_feature(day: int, seed: int) -> None:
    real, other = history(seed=seed), history(seed=seed + 1)
    with_other_future = pd.concat([real.iloc[: day + 1], other.iloc[day + 1 :]])
    known, as_known = features_of(prices_of(real)), features_of(prices_of(with_other_future))
    pd.testing.assert_frame_equal(known.iloc[: day + 1], as_known.iloc[: day + 1], check_exact=True)


@given(seed=st.integers(0, 100))
@settings(max_examples=10)
def test_the_label_looks_at_the_next_five_days_alone(seed: int) -> None:
    prices = prices_of(history(seed=seed))
    label = label_of(prices)
    returns = np.diff(np.log(prices.close.to_numpy()))
    for day in range(DAYS - LABEL_DAYS):
        ahead = returns[day : day + LABEL_DAYS]
        assert label.iloc[day] == float(math.sqrt(np.mean(ahead**2)) > 0.01)
    assert label.iloc[-LABEL_DAYS:].isna().all()


def test_realised_volatility_is_the_root_mean_square_return() -> None:
    prices = prices_of(history())
    returns = np.diff(np.log(prices.close.to_numpy()))
    assert realised_volatility(prices, 20).iloc[50] == pytest.approx(np.sqrt(np.mean(returns[30:50] ** 2)))


def wilder_by_hand(close: npt.NDArray[np.floating[Any]], days: int) -> float:
    gain = loss = 0.0
    for position, change in enumerate(np.diff(close)):
        weight = 1.0 if position == 0 else 1 / days
        gain += weight * (max(change, 0.0) - gain)
        loss += weight * (max(-change, 0.0) - loss)
    return 100 * gain / (gain + loss)


def test_relative_strength_follows_wilder() -> None:
    prices = prices_of(history())
    rsi = relative_strength(prices, 14)
    assert rsi.iloc[-1] == pytest.approx(wilder_by_hand(prices.close.to_numpy(dtype="float64"), 14))
    assert rsi.dropna().between(0, 100).all()
    assert rsi.iloc[:14].isna().all()


def test_relative_strength_is_fifty_where_nothing_moves() -> None:
    still = history().assign(Close=1000.0)
    assert (relative_strength(prices_of(still), 14).iloc[14:] == 50).all()


@pytest.mark.parametrize(("load", "symbol"), [(sp500_daily, "^GSPC"), (nasdaq_daily, "^IXIC")])
def test_the_example_data_is_complete_and_in_order(load: Any, symbol: str) -> None:
    frame = load()
    assert list(frame) == ["event_timestamp", "symbol", *NAMES, "turbulent"]
    assert frame["event_timestamp"].is_monotonic_increasing
    assert frame["event_timestamp"].is_unique
    assert set(frame["symbol"]) == {symbol}
    assert np.isfinite(frame[NAMES].to_numpy()).all()
    assert set(frame["turbulent"]) == {0, 1}
    assert len(frame) == 4966


def test_days_without_history_or_known_label_are_left_out() -> None:
    real = history()
    frame = with_features(real, symbol="X")
    assert len(frame) == DAYS - 60 - LABEL_DAYS
    assert frame["event_timestamp"].iloc[0].date() == real.index[60].date()
    assert frame["event_timestamp"].iloc[-1].date() == real.index[-LABEL_DAYS - 1].date()


def test_rows_are_stamped_with_the_close_in_utc() -> None:
    times = sp500_daily()["event_timestamp"]
    assert times.iloc[0] == pd.Timestamp("1999-03-31T16:00", tz="America/New_York")
    assert str(times.dtype) == "datetime64[us, UTC]"
