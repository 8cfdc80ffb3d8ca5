"""Reads the features of entities as the model wants them: from the online store, and the rows before it.

The newest row of an entity comes from the online store. A model with a window also reads the rows before
it, from the offline history, of which the newest are kept in memory and brought up to date every second or
so. Rows that were written online alone, and then overwritten there, are in neither: whoever serves a model
with a window writes each row offline too, as the guide's flow does.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.errors import MlinfraError
from mlinfra.features.errors import InvalidFeatures, UnknownFeatureGroup
from mlinfra.features.online.status import NEVER
from mlinfra.models.learnt import LearntModel
from mlinfra.serving.errors import InvalidRequestError, StoreUnavailableError, UnsupportedError
from mlinfra.serving.missing import Known
from mlinfra.serving.settings import ServingSettings

if TYPE_CHECKING:
    from mlinfra.features import FeatureStore, OnlineReader
    from mlinfra.features.newest_rows import EntityRows, NewestRows

REFRESH_SECONDS = 1.0
ROWS_BEFORE = 16
"""Rows before the window in which the policy ``last`` looks for a value."""


class EntityFeatures:
    """Features of one model's entities; safe to share between threads.

    Args:
        learnt: what the model reads.
        settings: of the server.
        clock: nanoseconds since 1970 in UTC.
    """

    def __init__(
        self, learnt: LearntModel, settings: ServingSettings, *, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.learnt = learnt
        self._settings = settings
        self._clock = clock
        self._group = settings.feature_group or learnt.feature_group
        self._store: FeatureStore | None = None
        self._online: OnlineReader | None = None
        self._history: NewestRows | None = None
        self._opened = False
        self._lock = threading.Lock()
        self._refreshed = -REFRESH_SECONDS

    def read(
        self,
        entities: Sequence[str | int],
        given: Mapping[str | int, Mapping[str, float]],
        *,
        as_of: int | None,
    ) -> list[Known]:
        """What is known of each entity.

        Args:
            entities: keys.
            given: values of the newest row that the client gave, by entity and feature.
            as_of: rows after this moment do not count, nanoseconds since 1970 in UTC; None for now, when
                all count.

        Raises:
            StoreUnavailableError: the feature store does not answer, or has no such group.
            InvalidRequestError: a key is not of the group's type.
        """
        try:
            self._open()
            newest = self._newest_online(entities)
            return [
                self._known(entity, newest[place] if newest else None, given.get(entity, {}), as_of)
                for place, entity in enumerate(entities)
            ]
        except InvalidFeatures as error:
            raise InvalidRequestError(str(error)) from error
        except MlinfraError as error:
            if isinstance(error, (UnsupportedError, InvalidRequestError)):
                raise
            raise StoreUnavailableError(str(error)) from error

    def _open(self) -> None:
        """Prepare the reads, and bring the history up to date now and then."""
        # While one thread refreshes the others go on with what there is.
        if not self._lock.acquire(blocking=not self._opened):
            return
        try:
            if not self._opened:
                self._prepare()
                self._opened = True
            elif time.monotonic() - self._refreshed >= REFRESH_SECONDS:
                self._refresh()
        finally:
            self._lock.release()

    def _refresh(self) -> None:
        """See what was written since."""
        if self._history is not None:
            self._history.refresh()
        if self._online is None:
            self._online = self._online_reader()
        self._refreshed = time.monotonic()

    def _prepare(self) -> None:
        from mlinfra.features import get_feature_store

        if self._group is None:
            raise UnsupportedError(
                "the model does not tell which feature group it reads; set MLINFRA_SERVING_FEATURE_GROUP"
            )
        self._store = get_feature_store(self._settings.feature_store_uri)
        window = self.learnt.window
        if window > 1 or self._settings.missing == "last":
            self._history = self._store.follow_newest_rows(
                self._group, self.learnt.features, rows=window + ROWS_BEFORE
            )
        self._refresh()

    def _online_reader(self) -> "OnlineReader | None":
        if self._store is None:
            return None
        try:
            return self._store.prepare_online(
                feature_group=str(self._group),
                features=self.learnt.features,
                version=self._settings.online_version,
            )
        except UnknownFeatureGroup:
            # With a history the online rows only make it newer.
            if self._history is None:
                raise
            return None

    def _newest_online(self, entities: Sequence[str | int]) -> "list[tuple[int, NDArray[np.float64]]] | None":
        """Event time and values of each entity's online row."""
        if self._online is None:
            return None
        found = self._online.read(list(entities))
        events = found.event_timestamps.astype(np.int64).tolist()
        return list(zip(events, np.asarray(found.values, np.float64), strict=True))

    def _known(
        self,
        entity: Any,
        online: "tuple[int, NDArray[np.float64]] | None",
        given: Mapping[str, float],
        as_of: int | None,
    ) -> Known:
        window, width = self.learnt.window, len(self.learnt.features)
        events = np.empty(0, np.int64)
        values = np.empty((0, width))
        rows: EntityRows | None = self._history.of(entity) if self._history is not None else None
        if rows is not None:
            events, values = rows.events, rows.values
        if online is not None and online[0] != NEVER:
            events, values = _merged(events, values, *online)
        if as_of is not None:
            there = events <= as_of
            events, values = events[there], values[there]
        before = _newest_values(values[:-window], width)
        events, values = events[-window:], values[-window:]
        return Known(entity, values, events, before, self._is_old(events, as_of), given)

    def _is_old(self, events: NDArray[np.int64], as_of: int | None) -> bool:
        seconds = self._settings.ttl_seconds
        if seconds is None or not len(events):
            return False
        age = timedelta(seconds=seconds) // timedelta(microseconds=1) * 1000
        now = self._clock() if as_of is None else as_of
        return now - int(events[-1]) > age


def _merged(
    events: NDArray[np.int64], values: NDArray[np.float64], event: int, row: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows in order of time, with one more, or another in place of one of its time."""
    place = int(np.searchsorted(events, event))
    if place < len(events) and events[place] == event:
        replaced = values.copy()
        replaced[place] = row
        return events, replaced
    return np.insert(events, place, event), np.insert(values, place, row, axis=0)


def _newest_values(rows: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The newest value of each column that is not NaN, (width,)."""
    newest = np.full(width, np.nan)
    for row in rows:
        newest = np.where(np.isnan(row), newest, row)
    return newest
