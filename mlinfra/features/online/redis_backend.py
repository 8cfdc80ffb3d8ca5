"""Rows in Redis, for servers on many machines: what they survive is the server's own setting.

    mlinfra:online:groups                     hash: <name> NUL <version> to the group as JSON
    mlinfra:online:watermarks                 hash: <name> NUL <version> to how far it was materialized
    mlinfra:online:rows:<name>:<version>      hash: entity's key to `mlinfra.features.online.packed`

Nothing of it is kept in memory here: another writer could not be told in time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis

from mlinfra.features.errors import FeatureStoreUnavailable
from mlinfra.features.online.backend import GroupChange, Key, encode_keys
from mlinfra.features.online.group import OnlineGroup, parse_group
from mlinfra.features.online.order import Precedence

GROUPS = "mlinfra:online:groups"
WATERMARKS = "mlinfra:online:watermarks"
ROWS_PREFIX = "mlinfra:online:rows"
TIMEOUT_SECONDS = 5.0
ROWS_A_SCRIPT = 500
"""A script holds up every other client for as long as it runs: half a thousand rows take milliseconds."""

UPSERT = """
local force, event_is_now, created_is_now = ARGV[1] == '1', ARGV[2] == '1', ARGV[3] == '1'

-- Numbers here are doubles, which do not hold 64 bits: the halves are compared.
local function order(one, other, position)
  local one_low, one_high = struct.unpack('<I4i4', one, position)
  local other_low, other_high = struct.unpack('<I4i4', other, position)
  if one_high ~= other_high then return one_high < other_high and -1 or 1 end
  if one_low ~= other_low then return one_low < other_low and -1 or 1 end
  return 0
end

local count = 0
for position = 4, #ARGV, 2 do
  local key, row = ARGV[position], ARGV[position + 1]
  local stored = redis.call('HGET', KEYS[1], key)
  local stays = true
  if stored and not force then
    local event, created = string.sub(row, 1, 8), string.sub(row, 9, 16)
    local newer = order(row, stored, 1)
    if newer < 0 and event_is_now then
      event, newer = string.sub(stored, 1, 8), 0
    end
    if newer == 0 and order(row, stored, 9) < 0 then
      if created_is_now then created = string.sub(stored, 9, 16) else newer = -1 end
    end
    stays = newer >= 0
    row = event .. created .. string.sub(row, 17)
  end
  if stays then
    redis.call('HSET', KEYS[1], key, row)
    count = count + 1
  end
end
return count
"""
"""`mlinfra.features.online.order.row_that_stays`, at the server: no other writer can come between."""


class RedisBackend:
    """An online store in one database of a Redis server, 7 or later.

    Args:
        uri: ``redis://``, ``rediss://`` or ``unix://``, with user, password and database if need be.

    Raises:
        FeatureStoreUnavailable: the URI cannot be read.
    """

    def __init__(self, uri: str) -> None:
        self.place = _without_password(uri)
        try:
            self._client: Any = redis.Redis.from_url(
                uri, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
            )
        except (ValueError, TypeError) as error:
            raise FeatureStoreUnavailable(f"online store {self.place}: {error}") from error
        self._upsert = self._client.register_script(UPSERT)

    def groups(self) -> list[OnlineGroup]:
        with self._errors():
            records = self._client.hvals(GROUPS)
        return [parse_group(record, place=self.place) for record in records]

    def group(self, name: str, version: str) -> OnlineGroup | None:
        with self._errors():
            record = self._client.hget(GROUPS, _field(name, version))
        return parse_group(record, place=self.place) if record else None

    def define(self, name: str, version: str, change: GroupChange) -> OnlineGroup:
        present = self.group(name, version)
        if present and change(present) == present:
            return present
        field = _field(name, version)

        def defined(pipe: Any) -> OnlineGroup:
            record = pipe.hget(GROUPS, field)
            after = change(parse_group(record, place=self.place) if record else None)
            pipe.multi()
            pipe.hset(GROUPS, field, after.model_dump_json())
            return after

        with self._errors():
            after: OnlineGroup = self._client.transaction(defined, GROUPS, value_from_callable=True)
            return after

    def write(self, group: OnlineGroup, keys: Sequence[bytes], rows: Sequence[bytes], by: Precedence) -> int:
        """As of `Backend`, but a failure in the middle leaves the rows before it: write them again."""
        flags = [int(each) for each in (by.force, by.event_is_now, by.created_is_now)]
        count = 0
        with self._errors():
            for start in range(0, len(keys), ROWS_A_SCRIPT):
                part = slice(start, start + ROWS_A_SCRIPT)
                pairs = [each for pair in zip(keys[part], rows[part], strict=True) for each in pair]
                count += self._upsert(keys=[_rows_key(group)], args=[*flags, *pairs])
        return count

    def rows(self, group: OnlineGroup) -> "RedisRows":
        return RedisRows(self, group)

    def watermark(self, group: OnlineGroup) -> bytes | None:
        with self._errors():
            found: bytes | None = self._client.hget(WATERMARKS, _field(group.name, group.version))
        return found

    def set_watermark(self, group: OnlineGroup, watermark: bytes) -> None:
        with self._errors():
            self._client.hset(WATERMARKS, _field(group.name, group.version), watermark)

    def fetch(self, key: str, fields: Sequence[bytes]) -> list[bytes | None]:
        """Some fields of a hash; none of none."""
        if not fields:
            return []
        with self._errors():
            found: list[bytes | None] = self._client.hmget(key, fields)
        return found

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise FeatureStoreUnavailable(f"online store {self.place}: {error}") from error


class RedisRows:
    """Rows of one group version, read in one command."""

    def __init__(self, backend: RedisBackend, group: OnlineGroup) -> None:
        self.place = backend.place
        self._backend = backend
        self._key_type = group.key_type
        self._key = _rows_key(group)

    def generation(self) -> bytes | None:
        return None

    def fetch(self, keys: Sequence[Key]) -> tuple[bytes | None, list[bytes | None]]:
        return None, self._backend.fetch(self._key, encode_keys(keys, self._key_type))


def _field(name: str, version: str) -> bytes:
    return name.encode() + b"\0" + version.encode()


def _rows_key(group: OnlineGroup) -> str:
    return f"{ROWS_PREFIX}:{group.name}:{group.version}"


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
