"""The online calls of `mlinfra.features.FeatureStore`."""

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from mlinfra.features.errors import FeatureStoreUnavailable, InvalidFeatures
from mlinfra.features.offline import OfflineStore
from mlinfra.features.online.backend import Key
from mlinfra.features.online.group import OnlineGroup
from mlinfra.features.online.inputs import EventTime, Values
from mlinfra.features.online.location import ONLINE_STORE_URI_ENV, open_backend
from mlinfra.features.online.materialize import materialize, materialize_incremental
from mlinfra.features.online.prepared import MEMORY_ROWS, OnlineReader
from mlinfra.features.online.result import FloatType, OnlineFeatures
from mlinfra.features.online.store import Clock, OnlineStore
from mlinfra.features.timerange import Moment


class OnlineCalls:
    """Newest rows of entities: plain vectors by key, and feature groups by name and version."""

    _offline: OfflineStore

    def __init__(self, location: str | Path | None, clock: Clock) -> None:
        self._online_location = location
        self._clock = clock

    @cached_property
    def _online(self) -> OnlineStore:
        if self._online_location is None:
            raise FeatureStoreUnavailable(
                "the online rows of a store that is no folder of this machine need a place of their own: "
                f"give online=redis://host:port/database or a folder, or set {ONLINE_STORE_URI_ENV}"
            )
        return OnlineStore(open_backend(self._online_location), self._clock)

    def write_online_features(
        self,
        key: Key | Sequence[Key],
        values: Values,
        *,
        feature_group: str | None = None,
        version: str | None = None,
        features: Sequence[str] | None = None,
        event_timestamp: EventTime | None = None,
        force: bool = False,
    ) -> int:
        """Store the newest values of one entity or several; with the default store all of them or none.

            store.write_online_features("BTCUSDT", np.array([0.3, 1.7]))
            store.write_online_features("BTCUSDT", {"rsi": 55.1}, feature_group="prices")
            store.write_online_features(frame["symbol"], frame[["rsi", "timestamp"]], feature_group="prices")

        A row is written whole. An older event never replaces a newer one; of rows with the same event time
        the one created last stays. Without an event time the values count from now on, and replace what is
        there.

        Args:
            key: the entity, a text or an integer, or several of them.
            values: numbers, shape (features,) for one key, (entities, features) for several; or named
                features, as a mapping or a frame (pandas, Arrow, Polars) with one row a key. NaN is null.
                The rows' times may be columns: ``event_timestamp`` or ``timestamp``, and
                ``created_timestamp``.
            feature_group: the group; without one, a vector of numbers belongs to the key alone. The first
                write creates the group; later ones may add features.
            version: version of the group, ``1.0`` by default; versions do not touch each other.
            features: names of the columns of plain numbers; by default those of the group.
            event_timestamp: when the values were true, one moment or one for each key; without a time zone
                it counts as UTC.
            force: replace what is there, however new.

        Returns:
            Entities whose row was stored: the others have a newer one.

        Raises:
            InvalidFeatures: keys, values or times that cannot be stored; the message names them.
            FeatureConflict: a feature of the group is missing, or has another type.
            FeatureStoreUnavailable: the disk is full, or the server does not answer.
            CorruptFeatures: the store's file is damaged; the message names it.
        """
        return self._online.write(
            key,
            values,
            feature_group=feature_group,
            version=version,
            features=features,
            event_timestamp=event_timestamp,
            force=force,
        )

    @overload
    def read_online_features(
        self, key: Key, *, ttl: timedelta | None = None
    ) -> npt.NDArray[np.float64] | None: ...

    @overload
    def read_online_features(
        self,
        key: Key | Sequence[Key],
        *,
        feature_group: str,
        features: Sequence[str] | None = None,
        version: str | None = None,
        ttl: timedelta | None = None,
    ) -> OnlineFeatures: ...

    def read_online_features(
        self,
        key: Key | Sequence[Key],
        *,
        feature_group: str | None = None,
        features: Sequence[str] | None = None,
        version: str | None = None,
        ttl: timedelta | None = None,
    ) -> OnlineFeatures | npt.NDArray[np.float64] | None:
        """The newest values of one entity or several.

        Args:
            key: the entity, or several in any order.
            feature_group: the group; without one, the vector that was written for the key alone.
            features: names of the features, all of the group by default.
            version: version of the group, ``1.0`` by default.
            ttl: time to live: a value counts while now - event time <= ttl, as in
                the offline join. Without one it always counts.

        Returns:
            Without a group: the vector, float64, shape (features,), or None where there is none or it has
            expired. With one: `OnlineFeatures`, with a status for each value.

        Raises:
            UnknownFeatureGroup, UnknownFeature: the message names those there are.
            InvalidFeatures: a key is not of the group's type.
            FeatureStoreUnavailable, CorruptFeatures: the store cannot be read; the message names it.
        """
        if feature_group is not None:
            return self._online.read(
                key, feature_group=feature_group, features=features, version=version, ttl=ttl
            )
        if not isinstance(key, (str, int, np.integer)) or features is not None or version is not None:
            raise InvalidFeatures(
                "several keys, features and versions are read from a group; give feature_group=..."
            )
        return self._online.read_vector(key, ttl)

    def prepare_online(
        self,
        *,
        feature_group: str,
        features: Sequence[str] | None = None,
        version: str | None = None,
        ttl: timedelta | None = None,
        dtype: FloatType = np.float64,
        memory_rows: int = MEMORY_ROWS,
    ) -> OnlineReader:
        """A read for hot loops: group, features and time to live are looked up once, here.

            reader = store.prepare_online(feature_group="prices", ttl=timedelta(minutes=1))
            answer = reader.read(["BTCUSDT", "ETHUSDT"])
            answer.values, answer.status, answer.event_timestamps

        Args:
            feature_group, features, version, ttl: as of `read_online_features`.
            dtype: type of the values, ``numpy.float64`` or ``numpy.float32``.
            memory_rows: rows that the reader may keep in memory; 0 keeps none. It never gives a row that
                anyone has overwritten. Nothing is kept of a Redis server.

        Raises:
            UnknownFeatureGroup, UnknownFeature: the message names those there are.
        """
        return self._online.prepare(
            feature_group=feature_group,
            features=features,
            version=version,
            ttl=ttl,
            dtype=dtype,
            memory_rows=memory_rows,
        )

    def materialize(
        self,
        feature_group: str,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        *,
        version: str | None = None,
        force: bool = False,
    ) -> int:
        """Bring the newest row of each entity in a period from the offline store into the online one.

        Rows that are older than what is online stay out. The watermark of `materialize_incremental`
        stays where it is: a period of event time says nothing of the rows that come later.

        Args:
            feature_group: name of the group, offline and online.
            start_date, end_date: as of `read_offline_features`; both included, all by default.
            version: version of the online group, ``1.0`` by default.
            force: replace what is online, however new.

        Returns:
            Entities whose row was stored.

        Raises:
            UnknownFeatureGroup: there is no such group offline; the message names those there are.
            FeatureConflict: the online group has other features or types.
            CorruptFeatures: an offline file is missing or damaged; the message names it.
            FeatureStoreUnavailable: the disk is full, or the server does not answer.
        """
        return materialize(
            self._online,
            self._offline,
            feature_group,
            start=start_date,
            end=end_date,
            version=version,
            force=force,
        )

    def materialize_incremental(self, feature_group: str, *, version: str | None = None) -> int:
        """Bring what was written offline since the last time into the online store, late rows included.

        How far it came is kept online and moves only when all is there; after a crash the next call does
        the rest.

        Args:
            feature_group: name of the group, offline and online.
            version: version of the online group, ``1.0`` by default; each has its own watermark.

        Returns:
            Entities whose row was stored.

        Raises:
            as of `materialize`.
        """
        return materialize_incremental(self._online, self._offline, feature_group, version=version)

    def list_online_groups(self) -> list[OnlineGroup]:
        """Every version of every group in the online store, with its features and their types."""
        return self._online.groups()
