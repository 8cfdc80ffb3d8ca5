"""One LMDB environment a process for each folder, its map growing as it fills.

LMDB wants a file opened once a process, and not across a fork: the environments are kept here by file,
for as long as anyone uses them, and a forked child opens its own.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from mlinfra.features.errors import CorruptFeatures, FeatureStoreUnavailable

MAP_BYTES = 1 << 30
"""Address space at first, not disk: the file is as large as what was written to it."""
DATABASES = ("groups", "generations", "watermarks", "rows")
SPARE_READS = 8
DATA_FILE = "data.mdb"
REMEDY = "restore its folder from a backup, or remove it and materialize the feature groups again"

Result = TypeVar("Result")

_UNREADABLE = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.VersionMismatchError,
)


@contextmanager
def lmdb_errors(file: Path) -> Iterator[None]:
    """Tell of a damaged file, a full disk, or a place that cannot be written, naming the file."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise store_error(file, error) from error


def store_error(file: Path, error: lmdb.Error | OSError) -> CorruptFeatures | FeatureStoreUnavailable:
    """What an error of LMDB means to a user."""
    if isinstance(error, _UNREADABLE):
        return CorruptFeatures(f"{file} cannot be read as an online store ({error}); {REMEDY}")
    return FeatureStoreUnavailable(f"online store {file}: {error}; nothing was changed")


class Environment:
    """An open environment: reads take turns for microseconds and never wait for a write."""

    def __init__(self, folder: Path, map_bytes: int) -> None:
        self.file = folder / DATA_FILE
        with lmdb_errors(self.file):
            folder.mkdir(parents=True, exist_ok=True)
            self._lmdb = lmdb.open(
                str(folder), map_size=map_bytes, max_dbs=len(DATABASES), max_spare_txns=SPARE_READS
            )
            _check_length(self.file, self._lmdb)
            self.databases = self._open_databases()
        self._reading = threading.Lock()
        self._writing = threading.Lock()

    def read(self, action: Callable[[Any], Result]) -> Result:
        """Do something in a read transaction: it sees the store as of one moment."""
        with self._reading:
            try:
                transaction = self._begin_read()
                try:
                    return action(transaction)
                finally:
                    transaction.abort()
            except lmdb.Error as error:
                raise store_error(self.file, error) from error

    def write(self, action: Callable[[Any], Result]) -> Result:
        """Do something in a write transaction, all of it or nothing; a full map grows, and it begins anew."""
        with self._writing, lmdb_errors(self.file):
            while True:
                try:
                    with self._lmdb.begin(write=True) as transaction:
                        return action(transaction)
                except lmdb.MapFullError:
                    self._resize(2 * self._lmdb.info()["map_size"])
                except lmdb.MapResizedError:
                    self._resize(0)

    def _begin_read(self) -> Any:
        try:
            return self._lmdb.begin(buffers=False)
        except lmdb.MapResizedError:
            # Another process has grown the map. The lock on writes is not held, but a writer of this process
            # would have met the same error: it cannot have begun.
            self._lmdb.set_mapsize(0)
            return self._lmdb.begin(buffers=False)

    def _resize(self, size: int) -> None:
        with self._reading:
            self._lmdb.set_mapsize(size)

    def _open_databases(self) -> dict[str, Any]:
        # Handles that are opened in a read transaction do not outlive it where transactions are reused.
        with self._lmdb.begin(write=True) as transaction:
            return {name: self._lmdb.open_db(name.encode(), transaction) for name in DATABASES}


def _check_length(file: Path, environment: Any) -> None:
    """Refuse a truncated file: reading beyond its end would kill the process."""
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    size = file.stat().st_size
    if size < needed:
        raise CorruptFeatures(f"{file} has {size} bytes instead of {needed}; {REMEDY}")


_open: weakref.WeakValueDictionary[tuple[int, int], Environment] = weakref.WeakValueDictionary()
_opening = threading.Lock()
_inherited: list[Environment] = []


def environment(folder: Path, map_bytes: int = MAP_BYTES) -> Environment:
    """The process's environment at a folder, opened or made where need be."""
    with _opening:
        key = _identity(folder)
        found = _open.get(key) if key else None
        if found is None:
            found = Environment(folder, map_bytes)
            key = _identity(folder)
            if key:
                _open[key] = found
        return found


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = (folder / DATA_FILE).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _forget_after_fork() -> None:
    # Closing them would release locks that are the parent's: they stay open and unused.
    _inherited.extend(_open.values())
    _open.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
