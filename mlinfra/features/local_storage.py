"""A feature store's files in a folder of the machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pyarrow import fs

from mlinfra.features import files
from mlinfra.features.storage import Content, Entry, StillHeld, Storage


class LocalStorage(Storage):
    """A folder; what was written there survives a crash of the machine.

    Attributes:
        folder: the folder.
    """

    locks_exclude = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.filesystem = fs.LocalFileSystem()

    def at(self, name: str) -> Self:
        return type(self)(self.folder / name)

    def path(self, name: str = "") -> str:
        return (self.folder / name).as_posix()

    def where(self, name: str = "") -> str:
        return str(self.folder / name)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def entries(self, name: str = "", *, recursive: bool = False) -> list[Entry]:
        found: list[Entry] = []
        try:
            with os.scandir(self.folder / name) as scan:
                listed = sorted((each for each in scan if each.name[0] != "."), key=lambda each: each.name)
        except FileNotFoundError:
            return []
        for each in listed:
            place = f"{name}/{each.name}" if name else each.name
            try:
                is_folder, stat = each.is_dir(), each.stat()
            except FileNotFoundError:
                # Deleted since the folder was listed, as by a vacuum.
                continue
            modified = datetime.fromtimestamp(stat.st_mtime, UTC)
            found.append(Entry(place, is_folder, 0 if is_folder else stat.st_size, modified))
            if is_folder and recursive:
                found += self.entries(place, recursive=True)
        return found

    def names(self) -> list[str]:
        try:
            return os.listdir(self.folder)
        except FileNotFoundError:
            return []

    def size(self, name: str) -> int | None:
        try:
            return (self.folder / name).stat().st_size
        except FileNotFoundError:
            return None

    def write(self, name: str, content: Content) -> None:
        path = self.folder / name
        files.make_folder(path.parent)
        files.write(path, content)
        files.sync_folder(path.parent)

    def publish(self, name: str, content: bytes) -> None:
        path = self.folder / name
        files.make_folder(path.parent)
        files.publish(path, content)

    def delete(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[StillHeld]:
        with files.exclusive(self.folder / name):
            yield lambda: None
