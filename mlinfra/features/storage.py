"""Where a feature store keeps its files: a folder of the machine, or of any pyarrow file system.

    storage = open_storage("s3://bucket/features")
    storage.at("metadata").publish("features/rsi/1.0.json", content)

A name is a place in the folder, with forward slashes. Two kinds of storage keep it:

- `LocalStorage`, a folder: what is written survives a crash, locks end with their holder;
- `ObjectStorage`, such as S3: an object appears whole or not at all, and a lock is a lease. What must be
  right even if a holder stalls for longer than its lease is written under names that nobody else uses.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from urllib.request import url2pathname

from pyarrow import fs

from mlinfra.features.errors import FeatureStoreUnavailable

StillHeld = Callable[[], None]
"""Of a lock: raises `FeatureStoreUnavailable` where another may hold it by now."""

Content = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in a storage.

    Attributes:
        name: place in the storage, with forward slashes.
        is_folder: whether it is a folder.
        size: bytes, 0 of a folder.
        modified: when it was last written, by the storage's clock; None where that is unknown.
    """

    name: str
    is_folder: bool
    size: int
    modified: datetime | None

    @property
    def base_name(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]


class Storage(ABC):
    """A folder; a missing one is an empty one.

    Attributes:
        filesystem: what pyarrow reads its files with; `path` names them there.
        locks_exclude: whether `exclusive` can be relied upon alone, however long its holder stalls.
    """

    filesystem: fs.FileSystem
    locks_exclude: bool

    @abstractmethod
    def at(self, name: str) -> Self:
        """The storage of a folder in this one."""

    @abstractmethod
    def path(self, name: str = "") -> str:
        """The file's path in `filesystem`."""

    @abstractmethod
    def where(self, name: str = "") -> str:
        """The file's path or URI as people know it, without credentials."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The file's content; raises FileNotFoundError."""

    @abstractmethod
    def entries(self, name: str = "", *, recursive: bool = False) -> list[Entry]:
        """Files and folders in the folder, sorted by name; hidden ones are left out."""

    def names(self) -> list[str]:
        """Names of what is in the folder, in no order; cheaper than `entries`."""
        return [entry.name for entry in self.entries()]

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is no such file."""

    @abstractmethod
    def write(self, name: str, content: Content) -> None:
        """Write a new file that nobody looks for yet, and have it kept when this returns."""

    @abstractmethod
    def publish(self, name: str, content: bytes) -> None:
        """Make a new file that readers see whole or not at all, and have it kept when this returns.

        Raises:
            FileExistsError: it is there already. Callers that may race for a name hold `exclusive`.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""

    @abstractmethod
    def exclusive(self, name: str) -> AbstractContextManager[StillHeld]:
        """Hold the lock of this name among all who use the storage; what it gives checks the hold."""

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return self.size(name) is not None


def open_storage(location: str | Path | Storage, filesystem: fs.FileSystem | None = None) -> Storage:
    """The storage at a folder, a URI, or a path in a pyarrow file system.

    Args:
        location: a path of the machine; ``file:///absolute/path``; ``s3://bucket/path``, with the
            credentials of the standard AWS variables and files, and with ``AWS_ENDPOINT_URL`` or
            ``?endpoint_override=host:port&scheme=http&region=...`` for a server other than AWS; or another
            URI that pyarrow knows.
        filesystem: a pyarrow file system in which ``location`` is a path.

    Raises:
        FeatureStoreUnavailable: the URI is of a kind that is not supported, or cannot be read.
    """
    from mlinfra.features.local_storage import LocalStorage
    from mlinfra.features.object_storage import ObjectStorage

    if isinstance(location, Storage):
        return location
    if filesystem is not None:
        filesystem, path = _unwrapped(filesystem, str(location))
        if isinstance(filesystem, fs.LocalFileSystem):
            return LocalStorage(Path(path))
        return ObjectStorage(filesystem, path.strip("/"))
    if isinstance(location, Path) or "://" not in location:
        return LocalStorage(Path(location))
    uri = urlsplit(location)
    if uri.scheme == "file":
        if uri.netloc not in ("", "localhost"):
            raise FeatureStoreUnavailable(
                f"feature store {location!r}: a file URI is written file:///absolute/path"
            )
        return LocalStorage(Path(url2pathname(uri.path)))
    shown = f"{uri.scheme}://{uri.netloc.rpartition('@')[2]}{uri.path}"
    try:
        found, path = fs.FileSystem.from_uri(_with_s3_options(location))
    except (ValueError, NotImplementedError, OSError) as error:
        raise FeatureStoreUnavailable(
            f"feature store {shown}: {_without_secrets(str(error), location)}; use a folder, file:///path, "
            "s3://bucket/path, or another URI that pyarrow knows"
        ) from None
    return ObjectStorage(found, path.strip("/"))


def _unwrapped(filesystem: fs.FileSystem, path: str) -> tuple[fs.FileSystem, str]:
    while isinstance(filesystem, fs.SubTreeFileSystem):
        path = f"{filesystem.base_path.rstrip('/')}/{path.strip('/')}"
        filesystem = filesystem.base_fs
    return filesystem, path


def _with_s3_options(location: str) -> str:
    """A small object takes one request, not three, when its upload may begin at its end."""
    uri = urlsplit(location)
    if uri.scheme != "s3":
        return location
    options = {"allow_delayed_open": "true"} | dict(parse_qsl(uri.query))
    return urlunsplit(uri._replace(query=urlencode(options)))


def _without_secrets(text: str, location: str) -> str:
    uri = urlsplit(location)
    for secret in filter(None, (location, uri.username, uri.password, uri.query)):
        text = text.replace(secret, "***")
    return text
