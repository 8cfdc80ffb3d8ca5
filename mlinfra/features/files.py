"""Local files that are whole or not there, and one writer at a time."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from mlinfra.features.errors import FeatureStoreUnavailable

LOCK_POLL_SECONDS = 0.01
READ_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
FOLDERS_CAN_BE_SYNCED = os.name != "nt"
"""Windows opens no folder; there NTFS logs a new name before the call that makes it returns."""


@contextmanager
def storage_errors(place: Path | str) -> Iterator[None]:
    """Tell of a disk that is full, read-only or gone as of the store, naming the file or ``place``."""
    try:
        yield
    except OSError as error:
        raise FeatureStoreUnavailable(
            f"feature store: {error.strerror or error} ({error.filename or place}); nothing was changed"
        ) from error


@contextmanager
def exclusive(lock_file: Path, *, timeout: float = -1) -> Iterator[None]:
    """Hold a lock among all processes of the machine; it ends with its holder, however that dies.

    Args:
        lock_file: which lock; it stays.
        timeout: seconds to wait for it; without an end where negative.

    Raises:
        filelock.Timeout: another one held it as long.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    # Without a lock of the system's own, a holder that dies would leave its lock behind.
    with filelock.FileLock(lock_file, timeout, poll_interval=LOCK_POLL_SECONDS, fallback_to_soft=False):
        yield


def publish(path: Path, content: bytes) -> None:
    """Write a file so that it appears at its path only when it is whole and on disk.

    Raises:
        FileExistsError: the file is there already; callers that may race hold a lock.
    """
    if path.exists():
        raise FileExistsError(path)
    replace_file(path, content)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file, new or in the place of another, so that one of that name is always whole and on disk."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    write(temporary, content)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write(path: Path, content: bytes | memoryview) -> None:
    """Write a new file and have its content on disk, or none; its name is `sync_folder`'s."""
    opened = path.open("xb", buffering=0)
    try:
        with opened as file:
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def make_folder(path: Path) -> None:
    """Make the folder and those above it, each of them on disk."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have the folder's entries on disk, so that new names in it survive a crash."""
    if not FOLDERS_CAN_BE_SYNCED:
        return
    descriptor = os.open(path, READ_FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
