"""The online store: the newest row of each entity, for serving."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlinfra.errors import suggestion
from mlinfra.features.errors import InvalidFeatures, UnknownFeatureGroup
from mlinfra.features.metadata import MAX_NAME_LENGTH, is_name
from mlinfra.features.online.backend import Backend, Key, check_lengths, encode_keys
from mlinfra.features.online.encode import encode_rows
from mlinfra.features.online.group import DEFAULT_VERSION, VECTORS_GROUP, KeyType, OnlineGroup, grown
from mlinfra.features.online.inputs import (
    EventTime,
    Given,
    Values,
    given_frame,
    given_numbers,
    is_named,
    key_type,
    listed_keys,
)
from mlinfra.features.online.order import Precedence
from mlinfra.features.online.prepared import MEMORY_ROWS, OnlineReader
from mlinfra.features.online.result import FloatType, OnlineFeatures
from mlinfra.features.online.status import FeatureStatus
from mlinfra.features.time_to_live import age_nanoseconds

Clock = Callable[[], int]
"""Gives nanoseconds since 1970 in UTC, as `time.time_ns` does."""

READERS_KEPT = 32


class OnlineStore:
    """Groups of one backend; the calls of `FeatureStore` say what they do."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self.backend = backend
        self._clock = clock
        self._readers: dict[tuple[object, ...], OnlineReader] = {}

    def groups(self) -> list[OnlineGroup]:
        """Every version of every group, by name and version."""
        return sorted(self.backend.groups(), key=lambda group: (group.name, group.version))

    def group(self, name: str, version: str | None) -> OnlineGroup:
        """One version of a group.

        Raises:
            UnknownFeatureGroup: nothing was written to it; the message names what there is.
        """
        wanted = version or DEFAULT_VERSION
        found = self.backend.group(name, wanted)
        if found is None:
            present = self.groups()
            versions = [group.version for group in present if group.name == name]
            if versions:
                raise UnknownFeatureGroup(
                    f"feature group {name!r} has no version {wanted!r} online: {suggestion(wanted, versions)}"
                )
            known = suggestion(name, {group.name for group in present})
            raise UnknownFeatureGroup(f"no feature group {name!r} online in {self.backend.place}: {known}")
        return found

    def write(
        self,
        keys: Key | Sequence[Key],
        values: Values,
        *,
        feature_group: str | None,
        version: str | None,
        features: Sequence[str] | None,
        event_timestamp: EventTime,
        force: bool,
    ) -> int:
        """See `FeatureStore.write_online_features`."""
        for each in (feature_group, version):
            check_name(each)
        listed = listed_keys(keys)
        kind = key_type(listed)
        name = feature_group or VECTORS_GROUP
        if is_named(values):
            if feature_group is None:
                raise InvalidFeatures("named features need a group; give feature_group=...")
            given = given_frame(values, listed, event_timestamp, group=name)
        else:
            names = None if feature_group is None else self._names(name, version, features)
            given = given_numbers(cast(npt.ArrayLike, values), names, listed, event_timestamp)
        return self.write_given(name, version or DEFAULT_VERSION, listed, kind, given, force=force)

    def write_given(
        self, name: str, version: str, keys: Sequence[Key], kind: KeyType, given: Given, *, force: bool
    ) -> int:
        """Write checked rows; of several for one key the newest."""
        encoded = encode_keys(keys, kind)
        check_lengths(encoded)
        if len(set(encoded)) < len(encoded):
            newest = _newest_of_key(encoded, given)
            given, encoded = given.picked(newest), [encoded[row] for row in newest]
        now = self._clock()
        group = self.backend.define(
            name, version, lambda before: grown(before, name, version, kind, given.types)
        )
        by = Precedence(force, event_is_now=given.event is None, created_is_now=given.created is None)
        return self.backend.write(group, encoded, encode_rows(given, group, now=now), by)

    def prepare(
        self,
        *,
        feature_group: str,
        features: Sequence[str] | None,
        version: str | None,
        ttl: timedelta | None,
        dtype: FloatType,
        memory_rows: int,
    ) -> OnlineReader:
        """See `FeatureStore.prepare_online`."""
        group = self.group(feature_group, version)
        return OnlineReader(
            self.backend.rows(group),
            group,
            list(group.columns) if features is None else features,
            ttl=age_nanoseconds(ttl),
            dtype=dtype,
            memory_rows=memory_rows,
            clock=self._clock,
        )

    def read(
        self,
        keys: Key | Sequence[Key],
        *,
        feature_group: str,
        features: Sequence[str] | None,
        version: str | None,
        ttl: timedelta | None,
    ) -> OnlineFeatures:
        """See `FeatureStore.read_online_features`; its readers are kept for the next time."""
        group = self.group(feature_group, version)
        chosen = tuple(features) if features is not None else tuple(group.columns)
        key = (group.name, group.version, chosen, ttl)
        reader = self._readers.get(key)
        if reader is None:
            if len(self._readers) >= READERS_KEPT:
                self._readers.clear()
            reader = self._readers[key] = self.prepare(
                feature_group=feature_group,
                features=chosen,
                version=version,
                ttl=ttl,
                dtype=np.float64,
                memory_rows=MEMORY_ROWS,
            )
        return reader.read(keys)

    def read_vector(self, key: Key, ttl: timedelta | None) -> npt.NDArray[np.float64] | None:
        """The vector that was written without a group, or None where there is none or it is too old."""
        if self.backend.group(VECTORS_GROUP, DEFAULT_VERSION) is None:
            return None
        row = self.read([key], feature_group=VECTORS_GROUP, features=None, version=None, ttl=ttl)
        written = row.status[0] != FeatureStatus.MISSING
        if not written.any() or row.status[0, 0] == FeatureStatus.EXPIRED:
            return None
        return np.asarray(row.values[0, written], np.float64)

    def _names(self, name: str, version: str | None, features: Sequence[str] | None) -> Sequence[str]:
        if features is not None:
            return features
        found = self.backend.group(name, version or DEFAULT_VERSION)
        if found is None:
            raise InvalidFeatures(
                f"feature group {name!r} is new: give features=[...], or the values as a DataFrame"
            )
        return list(found.columns)


def check_name(name: str | None) -> None:
    """Refuse what cannot name a group or a version.

    Raises:
        InvalidFeatures: it is too long, or holds other than letters, digits, underscore, dot and hyphen.
    """
    if name is not None and not is_name(name):
        raise InvalidFeatures(
            f"{name!r} cannot name a feature group or its version: use letters, digits, underscore, dot and "
            f"hyphen, {MAX_NAME_LENGTH} at most"
        )


def _newest_of_key(keys: Sequence[bytes], given: Given) -> npt.NDArray[np.intp]:
    """The row of each key with the latest event, then creation, then place."""
    frame = pd.DataFrame({"key": keys, "event": given.event, "created": given.created})
    ordered = frame if given.event is None else frame.sort_values(["event", "created"], kind="stable")
    return np.sort(ordered.drop_duplicates("key", keep="last").index.to_numpy(np.intp))
