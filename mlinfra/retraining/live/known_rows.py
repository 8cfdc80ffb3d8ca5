"""The feature group of a replay: it holds the rows whose label is known at the replay's time, no others."""

from datetime import datetime, timedelta

import pandas as pd

from mlinfra.features import FeatureStore


class KnownRows:
    """Writes rows once their labels are known.

    Args:
        store: where the group is.
        group: its name.
        frame: all rows, those of the future as well, in order of time.
        time, entity: columns of the event time, in UTC, and of the entity.
        delay: how long after its row a label is known.
    """

    def __init__(
        self,
        store: FeatureStore,
        group: str,
        frame: pd.DataFrame,
        *,
        time: str,
        entity: str,
        delay: timedelta,
    ) -> None:
        self._store, self._group = store, group
        self._frame, self._entity = frame, entity
        self._known_at = frame[time] + delay
        self._written = 0

    def reach(self, now: datetime) -> int:
        """Write what has become known by a time; how many rows are known by then.

        Raises:
            FeatureStoreUnavailable: they cannot be written.
        """
        known = int(self._known_at.searchsorted(pd.Timestamp(now), side="right"))
        if known > self._written:
            rows = self._frame.iloc[self._written : known]
            self._store.write_offline_features(self._group, rows, entity_column=self._entity)
            self._written = known
        return self._written
