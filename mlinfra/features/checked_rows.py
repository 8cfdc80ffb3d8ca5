"""Writes that keep to the expectations of the features, and checks of what is stored already.

Rows set aside are a history of their own under ``quarantine/<group>``: the group's columns and
`REASON_COLUMN`. They are written before the good rows. A crash in between leaves them there twice after the
write is tried again, and readers see rows of the same entity and event time once: nothing is lost.
"""

from collections.abc import Sequence
from typing import get_args

import pandas as pd
import pyarrow as pa

from mlinfra.errors import suggestion
from mlinfra.features.errors import (
    ExpectationFailed,
    FeatureConflict,
    InvalidFeatures,
    UnknownFeature,
)
from mlinfra.features.expectations import Policy
from mlinfra.features.frame import Rows
from mlinfra.features.group import FeatureGroup, PartitionBy
from mlinfra.features.inspection import REASON_COLUMN, Inspection, expected_columns, inspect
from mlinfra.features.offline import OfflineStore
from mlinfra.features.registry import FeatureRegistry
from mlinfra.features.reports import CheckReport, OnReport, WriteReport, told
from mlinfra.features.timerange import Moment


class CheckedRows:
    """The offline store behind the expectations of its features."""

    def __init__(self, offline: OfflineStore, quarantine: OfflineStore, registry: FeatureRegistry) -> None:
        self._offline = offline
        self._quarantine = quarantine
        self._registry = registry

    def write(
        self,
        feature_group: str,
        frame: Rows,
        *,
        entity_column: str | None,
        partition_by: PartitionBy | None,
        policy: Policy | None,
        on_report: OnReport,
    ) -> int:
        """Append the rows that may be; see `FeatureStore.write_offline_features`."""
        if policy is not None and policy not in get_args(Policy):
            raise InvalidFeatures(f"on_violation is one of {', '.join(get_args(Policy))}, not {policy!r}")
        found: list[Inspection] = []

        def good_rows(table: pa.Table, group: FeatureGroup) -> pa.Table:
            inspection = inspect(table, group, self._registry.newest(expected_columns(group)), policy=policy)
            _refuse_rejected(inspection, feature_group)
            if inspection.set_aside is not None:
                self._set_aside(inspection.set_aside, group)
            found.append(inspection)
            return inspection.good

        written = self._offline.write(
            feature_group, frame, entity_column=entity_column, partition_by=partition_by, select=good_rows
        )
        inspection = found[-1]
        aside = 0 if inspection.set_aside is None else len(inspection.set_aside)
        on_report(WriteReport(feature_group, written, aside, inspection.violations))
        return written

    def check(
        self,
        feature_group: str,
        *,
        start: Moment | None,
        end: Moment | None,
        features: Sequence[str] | None,
    ) -> CheckReport:
        """Check stored rows; see `FeatureStore.check_features`."""
        group = self._offline.group(feature_group)
        known = expected_columns(group)
        for name in features or ():
            if name not in known:
                raise UnknownFeature(
                    f"feature group {feature_group!r} has no feature {name!r}; {suggestion(name, known)}"
                )
        asked = known if features is None else list(features)
        definitions = self._registry.newest(asked)
        checked = [
            name for name in asked if name in definitions and definitions[name].expectations is not None
        ]
        table = self._offline.read_table(feature_group, start=start, end=end, columns=checked)
        violations = inspect(table, group, {name: definitions[name] for name in checked}).violations
        return CheckReport(
            feature_group=feature_group,
            rows=len(table),
            features=tuple(checked),
            unchecked=tuple(name for name in asked if name not in checked),
            violations=violations,
        )

    def read_quarantined(
        self, feature_group: str, *, start: Moment | None, end: Moment | None
    ) -> pd.DataFrame:
        """Rows that were set aside; see `FeatureStore.read_quarantined_features`."""
        if feature_group in self._quarantine.groups():
            return self._quarantine.read(feature_group, start=start, end=end, columns=None)
        return pd.DataFrame(columns=[*self._offline.group(feature_group).columns, REASON_COLUMN])

    def _set_aside(self, rows: pa.Table, group: FeatureGroup) -> None:
        if REASON_COLUMN in group.schema.names:
            raise FeatureConflict(
                f"feature group {group.name!r} has a column {REASON_COLUMN!r}, which quarantined rows "
                "need for themselves; rename it, or choose another policy than quarantine"
            )
        self._quarantine.append(
            group.name,
            rows,
            group.time_column,
            entity_column=group.entity_column,
            partition_by=group.partition_by,
        )


def _refuse_rejected(inspection: Inspection, feature_group: str) -> None:
    rejected = [each for each in inspection.violations if each.policy == "reject"]
    if rejected:
        raise ExpectationFailed(
            f"feature group {feature_group!r}, nothing was written: {told(rejected)}. Correct the rows, or "
            "give on_violation='quarantine' or 'warn'"
        )
