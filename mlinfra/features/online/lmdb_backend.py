"""Rows in LMDB on the local disk: many readers and one writer at a time, of any process of the machine.

Four databases in one file:

    groups       <name> NUL <version>           number of the group (4 bytes), then the group as JSON
    generations  <number>                       a count that every write to the group's rows raises
    watermarks   <number>                       how far the offline store was materialized
    rows         <number> <entity's key>        `mlinfra.features.online.packed`

Every write is one transaction, flushed to disk before it returns: a process that dies at any moment
leaves all of it or nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlinfra.features.errors import UnknownFeatureGroup
from mlinfra.features.online.backend import GroupChange, Key, encode_keys
from mlinfra.features.online.environment import DATA_FILE, MAP_BYTES, Databases, Environment, environment
from mlinfra.features.online.group import OnlineGroup, parse_group
from mlinfra.features.online.order import Precedence, row_that_stays

NUMBER_BYTES = 4
GENERATION_BYTES = 8


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
            groups, generations = databases["groups"], databases["generations"]
            record = transaction.get(key, db=groups)
            if record is None:
                number = transaction.stat(groups)["entries"].to_bytes(NUMBER_BYTES, "big")
                transaction.put(number, bytes(GENERATION_BYTES), db=generations)
            else:
                number = record[:NUMBER_BYTES]
            after = change(self._parsed(record) if record else None)
            transaction.put(key, number + after.model_dump_json().encode(), db=groups)
            return after

        return self.opened().write(defined)

    def write(self, group: OnlineGroup, keys: Sequence[bytes], rows: Sequence[bytes], by: Precedence) -> int:
        number = self.number(group)

        def written(transaction: Any, databases: Databases) -> int:
            database, count = databases["rows"], 0
            for key, row in zip(keys, rows, strict=True):
                place = number + key
                stays = row_that_stays(transaction.get(place, db=database), row, by)
                if stays is not None:
                    transaction.put(place, stays, db=database)
                    count += 1
            if count:
                generations = databases["generations"]
                before = int.from_bytes(transaction.get(number, db=generations), "big")
                transaction.put(number, (before + 1).to_bytes(GENERATION_BYTES, "big"), db=generations)
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
        self._number = backend.number(group)

    def generation(self) -> bytes | None:
        number = self._number
        found: bytes | None = self._backend.opened().read(
            lambda each, databases: each.get(number, None, databases["generations"])
        )
        return found

    def fetch(self, keys: Sequence[Key]) -> tuple[bytes | None, list[bytes | None]]:
        number = self._number
        places = [number + key for key in encode_keys(keys, self._key_type)]

        def fetched(transaction: Any, databases: Databases) -> tuple[bytes | None, list[bytes | None]]:
            get, rows = transaction.get, databases["rows"]
            return get(number, None, databases["generations"]), [get(place, None, rows) for place in places]

        return self._backend.opened().read(fetched)


def _group_key(name: str, version: str) -> bytes:
    return name.encode() + b"\0" + version.encode()
