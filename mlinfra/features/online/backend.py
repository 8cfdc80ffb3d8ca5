"""What the online store asks of the place that holds its rows."""

import operator
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from mlinfra.features.errors import InvalidFeatures
from mlinfra.features.online.group import KeyType, OnlineGroup
from mlinfra.features.online.order import Precedence

Key = str | int | np.integer
"""An entity's key."""

GroupChange = Callable[[OnlineGroup | None], OnlineGroup]

MAX_KEY_BYTES = 500
"""LMDB takes keys of 511 bytes; every place has the same limit, so that rows fit wherever they go."""


class Rows(Protocol):
    """The rows of one version of a group, for reads in a hot loop."""

    place: str

    def generation(self) -> bytes | None:
        """Differs after every write to the group, by whichever process; None where that cannot be told."""
        ...

    def fetch(self, keys: Sequence[Key]) -> tuple[bytes | None, list[bytes | None]]:
        """The generation and each key's row, or None, as of one moment."""
        ...


class Backend(Protocol):
    """A place for groups and rows; every method may raise `FeatureStoreUnavailable` or `CorruptFeatures`."""

    place: str
    """What the place is called in messages."""

    def groups(self) -> list[OnlineGroup]:
        """Every version of every group."""
        ...

    def group(self, name: str, version: str) -> OnlineGroup | None:
        """One version of a group."""
        ...

    def define(self, name: str, version: str, change: GroupChange) -> OnlineGroup:
        """Store what ``change`` makes of the group, against all other writers, and return it."""
        ...

    def write(self, group: OnlineGroup, keys: Sequence[bytes], rows: Sequence[bytes], by: Precedence) -> int:
        """Store the rows that win over those there, for distinct keys; how many did."""
        ...

    def rows(self, group: OnlineGroup) -> Rows:
        """The group's rows."""
        ...

    def watermark(self, group: OnlineGroup) -> bytes | None:
        """What `set_watermark` stored last."""
        ...

    def set_watermark(self, group: OnlineGroup, watermark: bytes) -> None:
        """Store how far the offline store was materialized."""
        ...


def encode_keys(keys: Sequence[Key], key_type: KeyType, *, prefix: bytes = b"") -> list[bytes]:
    """Keys as bytes after a prefix: UTF-8 of a text, decimal digits of an integer.

    Raises:
        InvalidFeatures: a key is of the other type.
    """
    try:
        if key_type == "text":
            return [prefix + key.encode() for key in keys]  # type: ignore[union-attr]
        return [prefix + b"%d" % operator.index(key) for key in keys]  # type: ignore[arg-type]
    except (AttributeError, TypeError, UnicodeEncodeError) as error:
        wrong = next(key for key in keys if not _is_of_type(key, key_type))
        raise InvalidFeatures(
            f"entity key {wrong!r} is no {key_type}, as the keys of this group are"
        ) from error


def check_lengths(keys: Sequence[bytes]) -> None:
    """Refuse keys that are too long to be stored.

    Raises:
        InvalidFeatures: a key has more than `MAX_KEY_BYTES`.
    """
    for key in keys:
        if len(key) > MAX_KEY_BYTES:
            raise InvalidFeatures(
                f"entity key {key[:40].decode(errors='replace')!r}... is longer than {MAX_KEY_BYTES} bytes"
            )


def _is_of_type(key: Key, key_type: KeyType) -> bool:
    if key_type == "integer":
        return not isinstance(key, str) and hasattr(key, "__index__")
    try:
        return isinstance(key, str) and bool(key.encode() is not None)
    except UnicodeEncodeError:
        return False
