"""Keeps the chunks of each replica of a model version in a file of its own, whole at any time.

``<replica>.json``, and ``<replica>.<generation>.json`` of a replica that came back after its counts were
folded: what replicas counted that are gone is in ``+folded.json``. That file tells which others it holds, so
the counts of a file are counted once wherever who folds is killed. A replica that was taken for gone and is
not goes on as one that was killed and is back: from the position that was folded with its counts.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import quote

import filelock

from mlinfra.errors import MlinfraError
from mlinfra.features.files import exclusive, make_folder, replace_file
from mlinfra.monitoring.chunk_file import CountsReader, CountsWriter, position_of
from mlinfra.monitoring.chunks import Kept
from mlinfra.monitoring.folding import Folded, Place

logger = logging.getLogger(__name__)

SUFFIX = ".json"
FOLDED_FILE = f"+folded{SUFFIX}"
"""No replica's file has a plus in its name."""
LOCK_FILE = ".folding.lock"
RENEW_SECONDS = 600.0
GONE_SECONDS = 6 * RENEW_SECONDS
"""A replica that renewed its file no more for so long is gone."""

Identity = tuple[int, ...]
Told = TypeVar("Told")


class MonitoringStoreError(MlinfraError):
    """The folder of the counters cannot be read or written."""

    reason: ClassVar[str] = "MonitoringStoreUnavailable"


class CountsFoldedError(MonitoringStoreError):
    """This replica was taken for gone: what it counted since it kept its counts counts no more."""

    reason: ClassVar[str] = "CountsFolded"


@dataclass(frozen=True, slots=True, order=True)
class _File:
    """A file of a replica's counts, whose name is as `_file_name` gives it."""

    replica: str
    generation: int

    @property
    def name(self) -> str:
        middle = f".{self.generation}" if self.generation else ""
        return f"{self.replica}{middle}{SUFFIX}"

    @classmethod
    def of(cls, path: Path) -> "_File | None":
        """The file at a path; None where it is none of a replica."""
        replica, _, generation = path.name.removesuffix(SUFFIX).partition(".")
        known = replica and path.name != FOLDED_FILE and (generation.isdecimal() or not generation)
        return cls(replica, int(generation or 0)) if known else None


class ChunkStore:
    """The chunks of one version of a model, by replica; of one thread.

    Args:
        folder: of all models' counters.
        model: name of the model.
        version: of the model.
        profile: ID of its reference profile; counts beside another one are not read.
        replica: name of this replica, which no other has at the same time.
        classes: whether the model tells classes apart.
        clock: seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: str,
        version: str,
        profile: str,
        replica: str,
        classes: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder / _file_name(model) / f"{_file_name(version)}-{profile[:16]}"
        self._own = _File(_file_name(replica), 0)
        self._classes = classes
        self._clock = clock
        self._renewed: float | None = None
        self._writer = CountsWriter()
        self._read_before: dict[_File, _Read[Kept]] = {}
        self._folded_before: _Read[Folded] = self._unread()

    def own(self) -> Kept:
        """What this replica kept before; its position alone where its counts were folded, else nothing.

        Raises:
            MonitoringStoreError: the folder cannot be read.
        """
        folded = self._folded() or Folded()
        self._own = _File(self._own.replica, folded.following(self._own.replica))
        kept = self._read(self._own)
        self._renewed = self._clock() if kept is not None else None
        if kept is not None:
            return kept
        place = folded.places.get(self._own.replica)
        return Kept(position=place.position) if place is not None else Kept()

    def others(self) -> list[Kept]:
        """What the other replicas kept, those of the past among them.

        Raises:
            MonitoringStoreError: the folder cannot be read.
        """
        return [kept for _, kept in self._others()]

    def all_with(self, own: Kept) -> list[Kept]:
        """What all replicas kept, and what this one has now, in the order of their names: the same for each.

        Raises:
            MonitoringStoreError: the folder cannot be read.
            CountsFoldedError: what this one has was folded.
        """
        others = self._others()
        self._refuse_folded()
        found = [(self._own, own), *((file, kept) for file, kept in others if file is not None)]
        folded = [kept for file, kept in others if file is None]
        return [*folded, *(kept for _, kept in sorted(found, key=lambda each: each[0]))]

    def keep(self, kept: Kept) -> None:
        """Replace what this replica kept before.

        Raises:
            MonitoringStoreError: it cannot be written; what was kept before stays.
            CountsFoldedError: that was folded; `own` tells from where to go on.
        """
        self._refuse_folded()
        self._write(self._own.name, self._writer.content(kept))
        self._renewed = self._clock()

    def renew(self) -> None:
        """Tell the others, where it is time, that this replica is there although it keeps nothing new.

        Raises:
            MonitoringStoreError: the folder does not answer.
            CountsFoldedError: as of `keep`.
        """
        self._refuse_folded()
        if self._renewed is not None and self._clock() - self._renewed >= RENEW_SECONDS:
            try:
                os.utime(self._path)
            except OSError as error:
                raise MonitoringStoreError(f"{self._path}: {error.strerror}") from error
            self._renewed = self._clock()

    def fold(self, most: int) -> int:
        """Put the counts of replicas that are gone into one file.

        Args:
            most: chunks that are kept of them.

        Returns:
            How many files were folded; none while another replica folds.

        Raises:
            MonitoringStoreError: the folder cannot be read or written; all counts are what they were.
        """
        if not self._folder.is_dir():
            return 0
        try:
            with exclusive(self._folder / LOCK_FILE, timeout=0):
                return self._fold(most)
        except filelock.Timeout:
            return 0
        except (OSError, NotImplementedError) as error:
            raise MonitoringStoreError(f"{self._folder}: {error}") from error

    def _fold(self, most: int) -> int:
        folded = self._folded()
        if folded is None:
            # Of another release: what it holds must not be lost.
            return 0
        lock = self._folder / LOCK_FILE
        # By the clock of where the files are.
        os.utime(lock)
        since = lock.stat().st_mtime - GONE_SECONDS
        there = [file for file in self._files() if file != self._own]
        gone: dict[tuple[str, int], Kept] = {}
        staying: set[str] = set()
        for file in there:
            if folded.holds(file.replica, file.generation):
                # Who folded it was killed before it was deleted; one of another release nobody folded.
                if self._read(file) is not None:
                    self._delete(file)
            elif file.replica in staying:
                # Were it folded, the one before would count as folded, too.
                continue
            elif self._changed(file) < since and (kept := self._read(file)) is not None:
                gone[file.replica, file.generation] = kept
            else:
                staying.add(file.replica)
        if gone:
            # This one goes on from its own place.
            names = {file.replica for file in (*there, self._own)}
            self._write_folded(folded.with_files(gone, most, there=names))
            for replica, generation in gone:
                self._delete(_File(replica, generation))
        return len(gone)

    def _delete(self, file: _File) -> None:
        (self._folder / file.name).unlink(missing_ok=True)
        self._read_before.pop(file, None)

    @property
    def _path(self) -> Path:
        return self._folder / self._own.name

    def _changed(self, file: _File) -> float:
        try:
            return (self._folder / file.name).stat().st_mtime
        except FileNotFoundError:
            return float("inf")

    def _refuse_folded(self) -> None:
        folded = self._folded() or Folded()
        gone = self._renewed is not None and not self._is_there()
        if gone or folded.holds(self._own.replica, self._own.generation):
            raise CountsFoldedError(f"{self._path} was taken for one of a replica that is gone")

    def _is_there(self) -> bool:
        try:
            self._path.stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise MonitoringStoreError(f"{self._path}: {error.strerror}") from error
        return True

    def _files(self) -> list[_File]:
        try:
            paths = list(self._folder.glob(f"*{SUFFIX}")) if self._folder.is_dir() else []
        except OSError as error:
            raise MonitoringStoreError(f"{self._folder}: {error.strerror}") from error
        return sorted(file for path in paths if (file := _File.of(path)) is not None)

    def _others(self) -> list[tuple[_File | None, Kept]]:
        """What each file of another replica holds, and what is folded, which has none."""
        files = [file for file in self._files() if file != self._own]
        # Replicas of the past never change again.
        self._read_before = {file: known for file, known in self._read_before.items() if file in files}
        read = [(file, self._read(file)) for file in files]
        # A file that was folded meanwhile is in what is folded now.
        folded = self._folded() or Folded()
        found: list[tuple[_File | None, Kept]] = [(None, folded.kept)] if folded.places else []
        for file, kept in read:
            if kept is not None and not folded.holds(file.replica, file.generation):
                found.append((file, kept))
        return found

    def _write(self, name: str, content: bytes) -> None:
        try:
            make_folder(self._folder)
            replace_file(self._folder / name, content)
        except OSError as error:
            raise MonitoringStoreError(f"{self._folder / name}: {error.strerror}") from error

    def _write_folded(self, folded: Folded) -> None:
        places = {
            name: {"generation": place.generation, "position": dict(place.position)}
            for name, place in folded.places.items()
        }
        self._write(FOLDED_FILE, CountsWriter().content(folded.kept, folded=places))

    def _folded(self) -> Folded | None:
        """What is folded; None where it cannot be read."""
        path = self._folder / FOLDED_FILE
        if not self._folded_before.refresh(path, _folded_of):
            self._folded_before = self._unread()
            return Folded()
        return self._folded_before.known

    def _read(self, file: _File) -> Kept | None:
        """What a file holds; None where there is none, or none that can be read."""
        read = self._read_before.setdefault(file, self._unread())
        return read.known if read.refresh(self._folder / file.name, lambda kept, _: kept) else None

    def _unread(self) -> "_Read[Any]":
        return _Read(CountsReader(classes=self._classes))


@dataclass(slots=True)
class _Read(Generic[Told]):
    """What a file told the last time.

    Attributes:
        reader: of this file alone.
        identity: of the file that was read.
        known: what it told; None where no one can read it any more, and counting goes on without it.
    """

    reader: CountsReader
    identity: Identity = ()
    known: Told | None = None

    def refresh(self, path: Path, told: Callable[[Kept, Mapping[str, Any]], Told]) -> bool:
        """Read the file at a path where it is another one than before; whether there is one.

        Raises:
            MonitoringStoreError: it cannot be read.
        """
        found = _content(path, unless=self.identity)
        if found is None:
            return False
        identity, content = found
        if content is not None:
            self.identity, self.known = identity, None
            try:
                self.known = told(*self.reader.read(content))
            except (KeyError, TypeError, ValueError, IndexError) as error:
                logger.warning("counters in %s are not read: %s", path, error)
        return True


def _folded_of(kept: Kept, wire: Mapping[str, Any]) -> Folded:
    places = {
        str(name): Place(int(each["generation"]), position_of(each["position"]))
        for name, each in wire["folded"].items()
    }
    return Folded(kept, places)


def _content(path: Path, *, unless: Identity) -> tuple[Identity, bytes | None] | None:
    """Which file is at a path, and its content; no content where it is one known before, None without a file.

    Raises:
        MonitoringStoreError: it cannot be read.
    """
    try:
        with path.open("rb") as opened:
            # Files are replaced as a whole: another content is another file.
            status = os.fstat(opened.fileno())
            identity = (status.st_ino, status.st_mtime_ns, status.st_size)
            return identity, None if identity == unless else opened.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MonitoringStoreError(f"{path}: {error.strerror}") from error


def _file_name(text: str) -> str:
    return quote(text, safe="").replace(".", "%2E")
