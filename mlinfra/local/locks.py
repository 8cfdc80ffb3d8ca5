"""Locks between processes of one user: held by an open file, so that a crash releases them."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlinfra.errors import MlinfraError
from mlinfra.local.files import PRIVATE, make_private_folder


class LockedError(MlinfraError):
    """Another process holds the lock."""


@contextmanager
def exclusive_lock(path: Path, *, command: str, what: str) -> Iterator[None]:
    """Hold a lock file for the time of the block; never waits.

    Args:
        path: the lock file. It stays when the lock is released: deleting it would let two in.
        command: what this process does, told to others that want the lock.
        what: what is locked, for the message.

    Raises:
        LockedError: another process has it; the message says which.
    """
    with _opened(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(_held_by_another(os.pread(descriptor, 4096, 0), what)) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "command": command}).encode(), 0)
        yield


@contextmanager
def short_lock(path: Path) -> Iterator[None]:
    """Wait for a lock that everyone holds for milliseconds only."""
    with _opened(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    make_private_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _held_by_another(content: bytes, what: str) -> str:
    try:
        holder = json.loads(content)
        who = f"another mlinfra process (pid {holder['pid']}, {holder['command']})"
    except (ValueError, KeyError, TypeError):
        # The holder has locked the file but not written its name yet.
        who = "another mlinfra process"
    return f"{who} is working on {what}; wait until it has finished, or end it"
