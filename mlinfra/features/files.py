"""Files that are whole or not there, and one writer at a time."""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlinfra.features.errors import FeatureStoreUnavailable


@contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """Tell of a disk that is full, read-only or gone as of the store, naming the file or ``place``."""
    try:
        yield
    except OSError as error:
        raise FeatureStoreUnavailable(
            f"feature store: {error.strerror or error} ({error.filename or place}); nothing was changed"
        ) from error


@contextmanager
def exclusive(lock_file: Path) -> Iterator[None]:
    """Hold a lock among all processes of the machine; it ends with its holder, however that dies."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def publish(path: Path, content: bytes) -> None:
    """Write a file so that it appears at its path only when it is whole and on disk.

    Raises:
        FileExistsError: the file is there already; callers that may race hold a lock.
    """
    if path.exists():
        raise FileExistsError(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Have the file's content on disk."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Have the folder's entries on disk, so that new names in it survive a crash."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
