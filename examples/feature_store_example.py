"""The feature store from definitions to what a model server reads, on the history of the S&P 500.

    python examples/feature_store_example.py

Everything lands in data/feature_store, or where MLINFRA_FEATURE_STORE_URI says. Running it again is harmless.
"""

from datetime import timedelta

import numpy as np
import pandas as pd

from mlinfra.datasets import sp500_daily, write_dataset
from mlinfra.features import (
    Expectations,
    FeatureMetadata,
    FeatureStatus,
    FeatureStore,
    WriteReport,
    get_feature_store,
)

SYMBOL = "^GSPC"
GROUP = "sp500_momentum"
DEFINITIONS = [
    FeatureMetadata(
        name="rsi_change",
        version="1.0",
        description="Change of the relative strength index since the day before, -100 to 100.",
        feature_type="technical",
        source="examples/feature_store_example.py",
        dependencies=["rsi_14"],
        expectations=Expectations(minimum=-100, maximum=100, on_violation="quarantine"),
    ),
    FeatureMetadata(
        name="calm_days",
        version="1.0",
        description="Consecutive days up to this one whose five-day volatility was below 1 %.",
        feature_type="technical",
        data_type="int",
        source="examples/feature_store_example.py",
        dependencies=["volatility_5"],
        expectations=Expectations(minimum=0, max_null_share=0.0),
    ),
]


def define(store: FeatureStore) -> None:
    """What the features mean, what they are computed from, and what is expected of them."""
    write_dataset(store, "sp500")
    store.register_features(DEFINITIONS)
    print(store.feature_lineage("rsi_change").tree())


def compute(daily: pd.DataFrame) -> pd.DataFrame:
    """One row a trading day, with the features of that day."""
    is_calm = daily["volatility_5"] < 0.01
    calm_days = is_calm.groupby((~is_calm).cumsum()).cumsum()
    return pd.DataFrame(
        {
            "event_timestamp": daily["event_timestamp"],
            "symbol": daily["symbol"],
            "rsi_change": daily["rsi_14"].diff(),
            "calm_days": calm_days.astype("int64"),
        }
    )


def write(store: FeatureStore, rows: pd.DataFrame) -> None:
    """Offline history; a value that cannot be right is set aside with the reason."""
    glitch = rows.copy()
    glitch.loc[glitch.index[100], "rsi_change"] = 1234.5

    def tell(report: WriteReport) -> None:
        print(f"{report.rows_written} rows written, {report.rows_quarantined} quarantined")

    store.write_offline_features(GROUP, glitch, on_report=tell)
    aside = store.read_quarantined_features(GROUP)
    print(aside[["event_timestamp", "rsi_change", "quarantine_reason"]].to_string(index=False))


def training_set(store: FeatureStore, daily: pd.DataFrame) -> pd.DataFrame:
    """For each labelled day the features as they were known at its close, never later ones."""
    labelled_days = daily.loc[daily["event_timestamp"] >= "2015", ["event_timestamp", "symbol", "turbulent"]]
    rows = store.get_training_features(
        labelled_days,
        ["sp500_daily:volatility_20", f"{GROUP}:rsi_change", f"{GROUP}:calm_days"],
        ttl=timedelta(days=4),
    )
    print(f"training set: {len(rows)} rows, columns {', '.join(rows.columns)}")
    return rows


def keep(store: FeatureStore) -> None:
    """A snapshot can be read again, the very same, whatever is written later."""
    snapshot = store.create_snapshot(["sp500_daily", GROUP])
    before = store.read_snapshot(snapshot.id, GROUP)
    correction = before.tail(1).assign(rsi_change=0.0)
    store.write_offline_features(GROUP, correction)
    same = store.read_snapshot(snapshot.id, GROUP).equals(before)
    print(f"snapshot {snapshot.id}: {len(before)} rows of {GROUP}, unchanged by a later write: {same}")


def serve(store: FeatureStore) -> None:
    """The newest row of each entity where a model server reads it, each value with a status."""
    store.materialize_incremental(GROUP)
    reader = store.prepare_online(feature_group=GROUP, features=["rsi_change", "calm_days"])
    answer = reader.read([SYMBOL, "^NOBODY"])
    for symbol, values, status in zip(answer.keys, answer.values, answer.status, strict=True):
        told = ", ".join(FeatureStatus(each).name.lower() for each in status)
        print(f"online {symbol}: {values} ({told})")
    store.write_online_features(SYMBOL, np.array([0.3, 1.7]))
    print(f"a vector of its own: {store.read_online_features(SYMBOL)}")


def main() -> None:
    store = get_feature_store()
    daily = sp500_daily()
    define(store)
    write(store, compute(daily))
    training_set(store, daily)
    keep(store)
    serve(store)
    print(f"all as expected: {store.check_features(GROUP).ok}")


if __name__ == "__main__":
    main()
