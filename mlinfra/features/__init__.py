"""Feature store: definitions with versions, offline history in Parquet, and online rows for serving.

    store = get_feature_store()
    store.register_feature(FeatureMetadata(name="rsi", version="1.0", description="..."))
    store.write_offline_features("orderbook_features", df)
    store.read_offline_features("orderbook_features", "2024-01-01", "2024-12-31")
    store.write_online_features("BTCUSDT", np.array([0.3, 1.7]))
    store.read_online_features("BTCUSDT")

On disk, under the store's root:

    metadata/features/<name>/<version>.json      definitions
    online/data.mdb                              newest rows: `mlinfra.features.online`
    metadata/snapshots/<id>.json                 which rows a snapshot holds: `mlinfra.features.manifest`
    offline/<group>/date=<period>/*.parquet      rows: `mlinfra.features.partitions`
    offline/<group>/_commits/<number>.json       which files count: `mlinfra.features.commits`
    quarantine/<group>/...                       rows set aside, the same way: `mlinfra.features.checked_rows`
"""

from mlinfra.features.asof import JoinSettings
from mlinfra.features.catalogue import FeatureDescription
from mlinfra.features.compaction import CompactionReport
from mlinfra.features.errors import (
    CorruptFeatures,
    CyclicDependency,
    ExpectationFailed,
    FeatureConflict,
    FeatureInUse,
    FeatureStoreUnavailable,
    InvalidDateRange,
    InvalidDefinition,
    InvalidFeatures,
    MissingDependency,
    UnknownFeature,
    UnknownFeatureGroup,
    UnknownSnapshot,
)
from mlinfra.features.expectations import Expectations
from mlinfra.features.group import FeatureGroup, PartitionBy
from mlinfra.features.inspection import Violation
from mlinfra.features.lineage import Lineage
from mlinfra.features.manifest import Snapshot
from mlinfra.features.metadata import FeatureChange, FeatureMetadata
from mlinfra.features.online.prepared import OnlineReader
from mlinfra.features.online.result import OnlineFeatures
from mlinfra.features.online.status import FeatureStatus
from mlinfra.features.reports import CheckReport, ExpectationWarning, WriteReport
from mlinfra.features.store import FeatureStore, get_feature_store
from mlinfra.features.vacuum import VacuumReport

__all__ = [
    "CheckReport",
    "CompactionReport",
    "CorruptFeatures",
    "CyclicDependency",
    "ExpectationFailed",
    "ExpectationWarning",
    "Expectations",
    "FeatureChange",
    "FeatureConflict",
    "FeatureDescription",
    "FeatureGroup",
    "FeatureInUse",
    "FeatureMetadata",
    "FeatureStatus",
    "FeatureStore",
    "FeatureStoreUnavailable",
    "InvalidDateRange",
    "InvalidDefinition",
    "InvalidFeatures",
    "JoinSettings",
    "Lineage",
    "MissingDependency",
    "OnlineFeatures",
    "OnlineReader",
    "PartitionBy",
    "Snapshot",
    "UnknownFeature",
    "UnknownFeatureGroup",
    "UnknownSnapshot",
    "VacuumReport",
    "Violation",
    "WriteReport",
    "get_feature_store",
]
