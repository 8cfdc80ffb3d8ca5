"""One LMDB environment a process for each folder, its map growing as it fills.

LMDB wants a file opened once a process, and no open one to pass a fork: the environments are kept here by
file, for as long as anyone uses them; a fork closes them before, and both sides open them anew.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from mlinfra.errors import MlinfraError
from mlinfra.features.errors import CorruptFeatures, FeatureStoreUnavailable, InvalidFeatures

MAP_BYTES = 1 << 30
"""Address space at first, not disk: the file is as large as what was written to it."""
ROWS = "rows"
DATABASES = ("groups", "watermarks", ROWS)
SPARE_READS = 8
MAX_READERS = 1024
"""Processes that may have the file open at once."""
DATA_FILE = "data.mdb"
REMEDY = "restore its folder from a backup, or remove it and materialize the feature groups again"

Databases = dict[str, Any]
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


def store_error(file: Path, error: lmdb.Error | OSError) -> MlinfraError:
    """What an error of LMDB means to a user."""
    if isinstance(error, lmdb.BadValsizeError):
        return InvalidFeatures("an entity key is longer than any that is stored")
    if isinstance(error, _UNREADABLE):
        return CorruptFeatures(f"{file} cannot be read as an online store ({error}); {REMEDY}")
    return FeatureStoreUnavailable(f"online store {file}: {error}; nothing was changed")


class Environment:
    """An environment: reads take turns for microseconds and never wait for a write."""

    def __init__(self, folder: Path, map_bytes: int) -> None:
        self.file = folder / DATA_FILE
        self._map_bytes = map_bytes
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._lmdb: lmdb.Environment | None = None
        self._databases: Databases = {}
        with lmdb_errors(self.file):
            folder.mkdir(parents=True, exist_ok=True)
            self._opened()

    def read(self, action: Callable[[Any, Databases], Result]) -> Result:
        """Do something in a read transaction: it sees the store as of one moment."""
        with self._reading:
            try:
                transaction = self._begin_read()
                try:
                    return action(transaction, self._databases)
                finally:
                    transaction.abort()
            except lmdb.Error as error:
                raise store_error(self.file, error) from error

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values of the database ``rows`` as of one moment; `read` does the same in twice the time."""
        with self._reading:
            try:
                transaction = self._begin_read()
                try:
                    return list(map(transaction.get, keys))
                finally:
                    transaction.abort()
            except lmdb.Error as error:
                raise store_error(self.file, error) from error

    def write(self, action: Callable[[Any, Databases], Result]) -> Result:
        """Do something in a write transaction, all of it or nothing; a full map grows, and it begins anew."""
        with self._writing, lmdb_errors(self.file):
            with self._reading:
                opened = self._opened()
            while True:
                try:
                    with opened.begin(write=True) as transaction:
                        return action(transaction, self._databases)
                except lmdb.MapFullError:
                    self._resize(2 * opened.info()["map_size"])
                except lmdb.MapResizedError:
                    self._resize(0)

    def before_fork(self) -> None:
        """Close, and keep everyone out until `after_fork`; it is opened again when it is used."""
        self._writing.acquire()
        self._reading.acquire()
        if self._lmdb is not None:
            self._lmdb.close()
            self._lmdb = None

    def after_fork(self) -> None:
        """In the parent and in the child."""
        self._reading.release()
        self._writing.release()

    def _begin_read(self) -> Any:
        opened = self._lmdb or self._opened()
        while True:
            try:
                return opened.begin(self._databases[ROWS])
            except lmdb.MapResizedError:
                # Another process has grown the map. A write of this process cannot be under way: it would
                # have met the same error, and waits for the lock that is held here.
                opened.set_mapsize(0)

    def _resize(self, size: int) -> None:
        with self._reading:
            self._opened().set_mapsize(size)

    def _opened(self) -> lmdb.Environment:
        if self._lmdb is None:
            opened = lmdb.open(
                str(self.file.parent),
                self._map_bytes,
                max_dbs=len(DATABASES),
                max_readers=MAX_READERS,
                max_spare_txns=SPARE_READS,
            )
            _check_length(self.file, opened)
            # Readers that were killed hold on to pages that could be used again.
            opened.reader_check()
            while not self._databases_of(opened):
                opened.set_mapsize(0)
            self._lmdb = opened
        return self._lmdb

    def _databases_of(self, opened: lmdb.Environment) -> bool:
        """Open the databases; False where another process has grown the map meanwhile."""
        try:
            # Handles that are opened in a read transaction do not outlive it where transactions are reused.
            with opened.begin(write=True) as transaction:
                self._databases = {name: opened.open_db(name.encode(), transaction) for name in DATABASES}
        except lmdb.MapResizedError:
            return False
        return True


def _check_length(file: Path, opened: lmdb.Environment) -> None:
    """Refuse a truncated file: reading beyond its end would kill the process."""
    needed = (opened.info()["last_pgno"] + 1) * opened.stat()["psize"]
    size = file.stat().st_size
    if size < needed:
        raise CorruptFeatures(f"{file} has {size} bytes instead of {needed}; {REMEDY}")


_environments: weakref.WeakValueDictionary[tuple[int, int], Environment] = weakref.WeakValueDictionary()
_opening = threading.Lock()
_closed_for_fork: list[Environment] = []


def environment(folder: Path, map_bytes: int = MAP_BYTES) -> Environment:
    """The process's environment at a folder, opened or made where need be."""
    with _opening:
        key = _identity(folder)
        found = _environments.get(key) if key else None
        if found is None:
            found = Environment(folder, map_bytes)
            key = _identity(folder)
            if key:
                _environments[key] = found
        return found


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = (folder / DATA_FILE).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _close_all() -> None:
    _opening.acquire()
    for each in list(_environments.values()):
        each.before_fork()
        _closed_for_fork.append(each)


def _let_all_open() -> None:
    while _closed_for_fork:
        _closed_for_fork.pop().after_fork()
    _opening.release()


os.register_at_fork(before=_close_all, after_in_parent=_let_all_open, after_in_child=_let_all_open)
