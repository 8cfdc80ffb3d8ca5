"""Rows in LMDB on the local disk: many readers and one writer at a time, of any process of the machine.

Three databases in one file:

    groups       <name> NUL <version>      number of the group (4 bytes), then the group as JSON
    watermarks   <number>                  how far the offline store was materialized
    rows         <number> 1 <entity>       `mlinfra.features.online.packed`
                 <number> 0                the group's generation: every write to its rows raises it

Every write is one transaction, flushed to disk before it returns: a process that dies at any moment
leaves all of it or nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlinfra.features.errors import UnknownFeatureGroup
from mlinfra.features.online.backend import GroupChange, Key, encode_keys
from mlinfra.features.online.environment import (
    DATA_FILE,
    MAP_BYTES,
    ROWS,
    Databases,
    Environment,
    environment,
)
from mlinfra.features.online.group import OnlineGroup, parse_group
from mlinfra.features.online.order import Precedence, row_that_stays

NUMBER_BYTES = 4
GENERATION_BYTES = 8
GENERATION = b"\0"
ROW = b"\1"


class LmdbBackend:
    """An online store in a folder; it is made by the first write.

    Args:
        folder: holds ``data.mdb`` and ``lock.mdb``; on a local disk, as LMDB maps them into memory.
        map_bytes: address space to begin with; it doubles whenever it is full.
    """

    def __init__(self, folder: Path, *, map_bytes: int = MAP_BYTES) -> None:
        self.place = str(folder / DATA_FILE)
        self._folder = folder
        self._map_bytes = map_bytes
        self._environment: Environment | None = None

    def groups(self) -> list[OnlineGroup]:
        if not self._exists():
            return []

        def listed(transaction: Any, databases: Databases) -> list[bytes]:
            with transaction.cursor(databases["groups"]) as cursor:
                return list(cursor.iternext(keys=False))

        return [self._parsed(record) for record in self.opened().read(listed)]

    def group(self, name: str, version: str) -> OnlineGroup | None:
        record = self._record(name, version) if self._exists() else None
        return self._parsed(record) if record else None

    def define(self, name: str, version: str, change: GroupChange) -> OnlineGroup:
        present = self.group(name, version)
        if present and change(present) == present:
            return present
        key = _group_key(name, version)

        def defined(transaction: Any, databases: Databases) -> OnlineGroup:
            groups = databases["groups"]
            record = transaction.get(key, db=groups)
            if record is None:
                number = transaction.stat(groups)["entries"].to_bytes(NUMBER_BYTES, "big")
                transaction.put(number + GENERATION, bytes(GENERATION_BYTES), db=databases[ROWS])
            else:
                number = record[:NUMBER_BYTES]
            after = change(self._parsed(record) if record else None)
            transaction.put(key, number + after.model_dump_json().encode(), db=groups)
            return after

        return self.opened().write(defined)

    def write(self, group: OnlineGroup, keys: Sequence[bytes], rows: Sequence[bytes], by: Precedence) -> int:
        number = self.number(group)

        def written(transaction: Any, databases: Databases) -> int:
            database, count = databases[ROWS], 0
            for key, row in zip(keys, rows, strict=True):
                place = number + ROW + key
                stays = row_that_stays(transaction.get(place, db=database), row, by)
                if stays is not None:
                    transaction.put(place, stays, db=database)
                    count += 1
            if count:
                place = number + GENERATION
                before = int.from_bytes(transaction.get(place, db=database), "big")
                transaction.put(place, (before + 1).to_bytes(GENERATION_BYTES, "big"), db=database)
            return count

        return self.opened().write(written)

    def rows(self, group: OnlineGroup) -> "LmdbRows":
        return LmdbRows(self, group)

    def watermark(self, group: OnlineGroup) -> bytes | None:
        number = self.number(group)
        found: bytes | None = self.opened().read(
            lambda each, databases: each.get(number, None, databases["watermarks"])
        )
        return found

    def set_watermark(self, group: OnlineGroup, watermark: bytes) -> None:
        number = self.number(group)
        self.opened().write(lambda each, databases: each.put(number, watermark, db=databases["watermarks"]))

    def opened(self) -> Environment:
        """The environment of the folder, opened or made where need be."""
        if self._environment is None:
            self._environment = environment(self._folder, self._map_bytes)
        return self._environment

    def _exists(self) -> bool:
        return self._environment is not None or (self._folder / DATA_FILE).exists()

    def _record(self, name: str, version: str) -> bytes | None:
        key = _group_key(name, version)
        record: bytes | None = self.opened().read(
            lambda each, databases: each.get(key, None, databases["groups"])
        )
        return record

    def number(self, group: OnlineGroup) -> bytes:
        """The group's number, with which its keys begin."""
        record = self._record(group.name, group.version)
        if record is None:
            raise UnknownFeatureGroup(
                f"feature group {group.name!r} version {group.version!r} is no longer in {self.place}"
            )
        return record[:NUMBER_BYTES]

    def _parsed(self, record: bytes) -> OnlineGroup:
        return parse_group(record[NUMBER_BYTES:], place=self.place)


class LmdbRows:
    """Rows of one group version, read in transactions of their own."""

    def __init__(self, backend: LmdbBackend, group: OnlineGroup) -> None:
        self._backend = backend
        self.place = backend.place
        self._key_type = group.key_type
        number = backend.number(group)
        self._generation, self._row = number + GENERATION, number + ROW

    def generation(self) -> bytes | None:
        return self._backend.opened().get([self._generation])[0]

    def fetch(self, keys: Sequence[Key]) -> tuple[bytes | None, list[bytes | None]]:
        places = encode_keys(keys, self._key_type, prefix=self._row)
        generation, *rows = self._backend.opened().get([self._generation, *places])
        return generation, rows


def _group_key(name: str, version: str) -> bytes:
    return name.encode() + b"\0" + version.encode()
