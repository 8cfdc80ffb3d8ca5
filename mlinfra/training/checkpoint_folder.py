"""A folder of checkpoints, on a disk or an object store: one file each, whole or not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlinfra.errors import MlinfraError
from mlinfra.features.storage import Storage, open_storage
from mlinfra.training.checkpoint_format import decode, encode
from mlinfra.training.errors import CheckpointStorageError

SUFFIX = ".safetensors"
PROBE = "writable"


class CheckpointFolder:
    """The checkpoints of one run, named so that the newest is the last by name.

    Args:
        storage: the folder; `open_storage` of a path, ``file:///path`` or ``s3://bucket/path``.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.where = storage.where()

    def names(self) -> list[str]:
        """Names of the checkpoints, the newest first.

        Raises:
            CheckpointStorageError: the folder cannot be read.
        """
        with self._told():
            found = [entry.name for entry in self._storage.entries() if entry.name.endswith(SUFFIX)]
        return sorted((name.removesuffix(SUFFIX) for name in found), reverse=True)

    def check_writable(self) -> None:
        """Write something, and delete it.

        Raises:
            CheckpointStorageError: that does not work.
        """
        with self._told():
            self._storage.write(PROBE, b"")
            self._storage.delete(PROBE)

    def read(self, name: str) -> Any:
        """What a checkpoint holds.

        Raises:
            CorruptCheckpointError: its file is damaged.
            CheckpointStorageError: it cannot be read.
        """
        with self._told():
            content = self._storage.read(name + SUFFIX)
        return decode(content)

    def write(self, name: str, value: Any) -> None:
        """Keep a checkpoint; one of that name is replaced.

        Raises:
            CheckpointStorageError: it cannot be written.
        """
        content = encode(value)
        with self._told():
            self._storage.delete(name + SUFFIX)
            self._storage.publish(name + SUFFIX, content)

    def keep(self, count: int) -> None:
        """Delete all but the newest ``count``."""
        for name in self.names()[count:]:
            with self._told():
                self._storage.delete(name + SUFFIX)

    @contextmanager
    def _told(self) -> Iterator[None]:
        with storage_errors(self.where):
            yield


def open_folder(storage_uri: str, *parts: str) -> CheckpointFolder:
    """The folder of a run's checkpoints below a place for all of them.

    Raises:
        CheckpointStorageError: the place cannot be used.
    """
    with storage_errors(storage_uri):
        return CheckpointFolder(open_storage(storage_uri).at("/".join(parts)))


def newest_run(storage_uri: str, model_name: str) -> str | None:
    """ID of the run of a model whose checkpoint was written last; None where there is none.

    Raises:
        CheckpointStorageError: the place cannot be used.
    """
    with storage_errors(storage_uri):
        entries = open_storage(storage_uri).at(model_name).entries(recursive=True)
    written = [
        (entry.modified, entry.name)
        for entry in entries
        if entry.name.endswith(SUFFIX) and entry.name.count("/") == 1 and entry.modified is not None
    ]
    return max(written)[1].split("/")[0] if written else None


@contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Tell of a place that cannot be read or written as of the checkpoints'."""
    try:
        yield
    except (OSError, MlinfraError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointStorageError(f"checkpoints at {where}: {told}") from error
