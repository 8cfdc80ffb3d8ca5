"""A feature store's files in an object store, or another of pyarrow's file systems.

What is relied upon, and what S3 and those that speak its language promise: an object is replaced as a whole,
and whoever lists or reads after a write has ended sees it. pyarrow has no conditional write, so a lock is
made of what there is. It is a lease: a holder that dies keeps others waiting for `LEASE_SECONDS`, and one
that stalls for longer may lose it, which it is told by `StillHeld`.
"""

import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from pyarrow import fs

from mlinfra.features.errors import FeatureStoreUnavailable
from mlinfra.features.storage import Content, Entry, StillHeld, Storage

LEASE_SECONDS = 60.0
"""How long a lock lasts whose holder died."""
HOLD_SECONDS = 30.0
"""How long a holder counts on its lock; the rest of the lease is for the requests on their way."""
WAIT_SECONDS = 600.0
LOOK_SECONDS = 0.05
WHOLE_ON_WRITE = ("s3", "gcs", "abfs")


class ObjectStorage(Storage):
    """A path of a pyarrow file system that is not the machine's own."""

    locks_exclude = False

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self.filesystem = filesystem
        self._root = root

    def at(self, name: str) -> Self:
        return type(self)(self.filesystem, self.path(name))

    def path(self, name: str = "") -> str:
        return f"{self._root}/{name}".strip("/")

    def where(self, name: str = "") -> str:
        return f"{self.filesystem.type_name}://{self.path(name)}"

    def read(self, name: str) -> bytes:
        with self.filesystem.open_input_stream(self.path(name)) as stream:
            content: bytes = stream.read()
        return content

    def entries(self, name: str = "", *, recursive: bool = False) -> list[Entry]:
        selector = fs.FileSelector(self.path(name), allow_not_found=True, recursive=recursive)
        found = [self._entry(info) for info in self.filesystem.get_file_info(selector)]
        shown = (entry for entry in found if not any(part[:1] == "." for part in entry.name.split("/")))
        return sorted(shown, key=lambda entry: entry.name)

    def size(self, name: str) -> int | None:
        info = self.filesystem.get_file_info(self.path(name))
        return info.size if info.type == fs.FileType.File else None

    def write(self, name: str, content: Content) -> None:
        self._write(self.path(name), content)

    def publish(self, name: str, content: bytes) -> None:
        path = self.path(name)
        if self.exists(name):
            raise FileExistsError(path)
        if self.filesystem.type_name in WHOLE_ON_WRITE:
            self._write(path, content)
            return
        folder, _, base_name = path.rpartition("/")
        temporary = f"{folder}/.{base_name}.{uuid.uuid4().hex}.tmp"
        self._write(temporary, content)
        self.filesystem.move(temporary, path)

    def delete(self, name: str) -> None:
        # S3 answers a deletion by making an empty object for the folder, unless something else is there.
        try:
            self.filesystem.delete_file(self.path(name))
        except FileNotFoundError:
            return

    @contextmanager
    def exclusive(self, name: str) -> Iterator[StillHeld]:
        """Hold the lock whose claims are the objects ``<name>.claims/*``.

        A claim holds the lock if a look after it was made shows no other. Of two that claim at once, the
        later look shows both, so they cannot both hold it; where both see both, both withdraw.
        """
        claims = f"{name}.claims"
        mine = f"{claims}/{uuid.uuid4().hex}"
        since = self._claimed(claims, mine)

        def still_held() -> None:
            if time.monotonic() - since > HOLD_SECONDS:
                raise FeatureStoreUnavailable(
                    f"feature store: the lock {self.where(name)} was held for more than {HOLD_SECONDS:g} s, "
                    "so that another may have taken it; what was left to do was not done, try again"
                )

        try:
            yield still_held
        finally:
            self.delete(mine)

    def _claimed(self, claims: str, mine: str) -> float:
        """Claim the lock, waiting for others; gives the time just before the claim was made."""
        deadline = time.monotonic() + WAIT_SECONDS
        first_seen: dict[str, float] = {}
        while time.monotonic() < deadline:
            if not self._others(claims, mine, first_seen):
                since = time.monotonic()
                self._write(self.path(mine), b"")
                if not self._others(claims, mine, first_seen):
                    return since
                self.delete(mine)
            time.sleep(LOOK_SECONDS * random.uniform(0.5, 2.0))
        raise FeatureStoreUnavailable(
            f"feature store: {self.where(claims)} was claimed by others for {WAIT_SECONDS:g} s; nothing was "
            "changed, try again"
        )

    def _others(self, claims: str, mine: str, first_seen: dict[str, float]) -> list[str]:
        """The claims of others; those whose lease has passed since they were first seen are removed."""
        now = time.monotonic()
        others = []
        for entry in self.entries(claims):
            if entry.is_folder or entry.name == mine:
                continue
            if now - first_seen.setdefault(entry.name, now) > LEASE_SECONDS:
                self.delete(entry.name)
            else:
                others.append(entry.name)
        return others

    def _entry(self, info: fs.FileInfo) -> Entry:
        is_folder = info.type == fs.FileType.Directory
        name = info.path.strip("/").removeprefix(self._root).strip("/")
        return Entry(name, is_folder, 0 if is_folder else info.size, info.mtime)

    def _write(self, path: str, content: Content) -> None:
        if self.filesystem.type_name not in WHOLE_ON_WRITE:
            self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        # Not in a with block: leaving it by an exception would complete the object.
        stream = self.filesystem.open_output_stream(path)
        stream.write(content)
        stream.close()
