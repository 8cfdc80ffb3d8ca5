"""Keeps the chunks of each replica of a model version in a file of its own, whole at any time."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from mlinfra.errors import MlinfraError
from mlinfra.features.files import make_folder, replace_file
from mlinfra.monitoring.chunks import Chunk

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
SUFFIX = ".json"


class MonitoringStoreError(MlinfraError):
    """The folder of the counters cannot be read or written."""

    reason: ClassVar[str] = "MonitoringStoreUnavailable"


@dataclass(frozen=True, slots=True)
class Kept:
    """What one replica counted.

    Attributes:
        chunks: in the order in which they were begun.
        late: labels of rows that other replicas counted, in chunks with the same borders and without rows.
        position: how far the replica had come in what it counts, by names of its own.
    """

    chunks: tuple[Chunk, ...] = ()
    late: tuple[Chunk, ...] = ()
    position: Mapping[str, int] = field(default_factory=dict)


class ChunkStore:
    """The chunks of one version of a model, by replica.

    Args:
        folder: of all models' counters.
        model: name of the model.
        version: of the model.
        profile: ID of its reference profile; counts beside another one are not read.
        replica: name of this replica, which no other has at the same time.
        classes: whether the model tells classes apart.
    """

    def __init__(
        self, folder: Path, *, model: str, version: str, profile: str, replica: str, classes: bool
    ) -> None:
        self._folder = folder / _file_name(model) / f"{_file_name(version)}-{profile[:16]}"
        self._own = self._folder / f"{_file_name(replica)}{SUFFIX}"
        self._classes = classes
        self._texts: dict[int, tuple[Chunk, str]] = {}
        self._read_before: dict[Path, tuple[tuple[int, ...], Kept]] = {}

    def own(self) -> Kept:
        """What this replica kept before; empty where it did not.

        Raises:
            MonitoringStoreError: the folder cannot be read.
        """
        return self._read(self._own)

    def others(self) -> list[Kept]:
        """What the other replicas kept, those of the past among them.

        Raises:
            MonitoringStoreError: the folder cannot be read.
        """
        return [self._read(file) for file in self._others()]

    def all_with(self, own: Kept) -> list[Kept]:
        """What all replicas kept, and what this one has now, in the order of their names: the same for each.

        Raises:
            MonitoringStoreError: the folder cannot be read.
        """
        files = sorted([*self._others(), self._own])
        return [own if file == self._own else self._read(file) for file in files]

    def keep(self, kept: Kept) -> None:
        """Replace what this replica kept before.

        Raises:
            MonitoringStoreError: it cannot be written; what was kept before stays.
        """
        self._texts = {id(each): self._text(each) for each in (*kept.chunks, *kept.late)}
        content = (
            f'{{"schemaVersion":{SCHEMA_VERSION},'
            f'"chunks":[{self._joined(kept.chunks)}],'
            f'"late":[{self._joined(kept.late)}],'
            f'"position":{json.dumps(dict(kept.position))}}}'
        )
        try:
            make_folder(self._folder)
            replace_file(self._own, content.encode())
        except OSError as error:
            raise MonitoringStoreError(f"{self._own}: {error.strerror}") from error

    def _others(self) -> list[Path]:
        try:
            files = sorted(self._folder.glob(f"*{SUFFIX}")) if self._folder.is_dir() else []
        except OSError as error:
            raise MonitoringStoreError(f"{self._folder}: {error.strerror}") from error
        others = [file for file in files if file != self._own and not file.name.startswith(".")]
        # Replicas of the past never change again.
        self._read_before = {file: known for file, known in self._read_before.items() if file in others}
        return others

    def _text(self, chunk: Chunk) -> tuple[Chunk, str]:
        """Its JSON, with the chunk itself, so that nothing else has its identity meanwhile.

        All but the newest chunks are what they were the last time, and their JSON takes long.
        """
        before = self._texts.get(id(chunk))
        return before or (chunk, json.dumps(chunk.to_wire(), separators=(",", ":")))

    def _joined(self, chunks: Sequence[Chunk]) -> str:
        return ",".join(self._texts[id(each)][1] for each in chunks)

    def _read(self, file: Path) -> Kept:
        try:
            with file.open("rb") as opened:
                # Files are replaced as a whole: another content is another file.
                status = os.fstat(opened.fileno())
                identity = (status.st_ino, status.st_mtime_ns, status.st_size)
                known = self._read_before.get(file)
                if known is not None and known[0] == identity:
                    return known[1]
                content = opened.read()
        except FileNotFoundError:
            return Kept()
        except OSError as error:
            raise MonitoringStoreError(f"{file}: {error.strerror}") from error
        kept = self._kept(file, content)
        self._read_before[file] = (identity, kept)
        return kept

    def _kept(self, file: Path, content: bytes) -> Kept:
        try:
            wire = json.loads(content)
            if wire["schemaVersion"] != SCHEMA_VERSION:
                raise ValueError(f"schema version {wire['schemaVersion']!r}")
            return Kept(
                self._chunks(wire["chunks"]),
                self._chunks(wire.get("late", [])),
                {str(name): int(value) for name, value in wire.get("position", {}).items()},
            )
        except (KeyError, TypeError, ValueError) as error:
            # Counting goes on without what no one can read any more.
            logger.warning("counters in %s are not read: %s", file, error)
            return Kept()

    def _chunks(self, wire: Sequence[Mapping[str, Any]]) -> tuple[Chunk, ...]:
        return tuple(Chunk.of_wire(each, classes=self._classes) for each in wire)


def _file_name(text: str) -> str:
    return quote(text, safe="").replace(".", "%2E")
