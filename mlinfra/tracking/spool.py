"""Keeps what was handed over and is not yet written to MLflow in files, so that no crash loses it.

One folder a run of a process::

    <state folder>/tracking_spool/<run ID>-<random>/
        run.json        the MLflow and the run that it belongs to
        lock            held by the process that writes; a crash releases it
        000001.jsonl    metrics and tags, a line each time some were handed over

A line is written before the call returns, without a sync: it outlives the process, not a power failure.
Segments whose points are all in MLflow are removed, so that the folder holds little more than what is not.
"""

import json
import logging
import os
import shutil
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock

from mlinfra.tracking.batches import MetricPoint

logger = logging.getLogger(__name__)

FOLDER = "tracking_spool"
RUN_FILE = "run.json"
LOCK_FILE = "lock"
UNFINISHED_PREFIX = "."
SEGMENT_BYTES = 4 << 20
PRIVATE_FOLDER = 0o700
PRIVATE = 0o600
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class SpooledRun:
    """The run that a spool belongs to.

    Attributes:
        tracking_uri: where MLflow runs, as `mlinfra.tracking.connection.lasting_uri` writes it.
        run_id: ID of the run.
        attempt: number of the attempt that wrote to it.
    """

    tracking_uri: str
    run_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What one call handed over.

    Attributes:
        metrics: points, oldest first.
        tags: tags of the run.
        end: the status that the run ended with, and when, in milliseconds since 1970.
    """

    metrics: tuple[MetricPoint, ...] = ()
    tags: Mapping[str, str] | None = None
    end: tuple[str, int] | None = None


@dataclass(slots=True)
class _Segment:
    path: Path
    size: int = 0
    points: int = 0


class Spool:
    """The files of one run of this process. Its calls raise OSError where the disk refuses.

    Args:
        root: folder of all spools.
        run: the run.
        segment_bytes: size from which a segment is followed by another.
    """

    def __init__(self, root: Path, run: SpooledRun, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        name = f"{run.run_id}-{uuid.uuid4().hex[:8]}"
        self.folder = root / name
        unfinished = root / f"{UNFINISHED_PREFIX}{name}"
        unfinished.mkdir(parents=True, mode=PRIVATE_FOLDER)
        self._lock = filelock.FileLock(unfinished / LOCK_FILE, timeout=0, fallback_to_soft=False)
        self._lock.acquire()
        (unfinished / RUN_FILE).write_text(json.dumps(asdict(run)), encoding="utf-8")
        # Nobody sees it before it is locked: it would be taken for one that a crash left.
        unfinished.rename(self.folder)
        self._segment_bytes = segment_bytes
        self._segments: deque[_Segment] = deque()
        self._number = 0
        self._file = -1
        self._sent = 0
        self._reading: tuple[Path, int] | None = None
        self._next_segment()

    def append(self, entry: Entry) -> None:
        """Write an entry to the end."""
        line = encode_entry(entry)
        current = self._segments[-1]
        if current.size + len(line) > self._segment_bytes and current.size:
            self._next_segment()
            current = self._segments[-1]
        written = os.write(self._file, line)
        if written != len(line):
            os.ftruncate(self._file, current.size)
            raise OSError(f"only {written} of {len(line)} bytes fit into {current.path}")
        current.size += len(line)
        current.points += len(entry.metrics)

    def sent(self, points: int) -> None:
        """The oldest ``points`` that are still here are in MLflow."""
        self._sent += points
        while len(self._segments) > 1 and self._sent >= self._segments[0].points:
            oldest = self._segments.popleft()
            self._sent -= oldest.points
            oldest.path.unlink()

    def clear(self) -> None:
        """All that was appended is in MLflow."""
        while len(self._segments) > 1:
            self._segments.popleft().path.unlink()
        current = self._segments[-1]
        if current.size:
            os.ftruncate(self._file, 0)
            current.size = current.points = 0
        self._sent, self._reading = 0, None

    def mark(self) -> None:
        """`read` begins with what is appended from now on."""
        current = self._segments[-1]
        self._reading = (current.path, current.size)

    def read(self, points: int) -> list[MetricPoint]:
        """The next points since `mark`, about as many as asked for; none where all were read."""
        found: list[MetricPoint] = []
        while self._reading is not None and len(found) < points:
            path, offset = self._reading
            if all(each.path != path for each in self._segments):
                # What it held was sent before anything was left to the files alone.
                self._reading = (self._segments[0].path, 0)
                continue
            with path.open("rb") as file:
                file.seek(offset)
                while len(found) < points and (line := file.readline()):
                    offset += len(line)
                    found.extend(decode_entry(line).metrics)
                at_end = not file.peek(1)
            later = [each.path for each in self._segments if each.path > path]
            if not at_end:
                self._reading = (path, offset)
            elif later:
                self._reading = (later[0], 0)
            else:
                self._reading = (path, offset)
                break
        return found

    def remove(self) -> None:
        """Everything is in MLflow: remove the folder."""
        self._release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def leave(self) -> None:
        """Let go of the folder, which stays for `mlinfra.tracking.replay`."""
        self._release()

    def _release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._lock.release()

    def _next_segment(self) -> None:
        self._number += 1
        path = self.folder / f"{self._number:06}.jsonl"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._segments.append(_Segment(path))


def spool_root() -> Path | None:
    """Folder of all spools of this user; None where the user has no home."""
    from mlinfra.local.state import state_root

    try:
        return state_root() / FOLDER
    except RuntimeError:
        return None


def open_spool(root: Path | None, run: SpooledRun) -> Spool | None:
    """A spool, or None where none can be written; that is told once, and the training goes on."""
    try:
        if root is None:
            raise OSError("the user has no home folder")
        return Spool(root, run)
    except (OSError, filelock.Timeout) as error:
        logger.warning(
            "No spool for run %s: %s. Its metrics wait for MLflow in memory only; set MLINFRA_STATE_DIR to a "
            "folder that can be written.",
            run.run_id,
            error,
        )
        return None


def encode_entry(entry: Entry) -> bytes:
    """An entry as a line."""
    fields: dict[str, Any] = {}
    if entry.metrics:
        fields["m"] = [(each.key, each.value, each.timestamp, each.step) for each in entry.metrics]
    if entry.tags:
        fields["t"] = dict(entry.tags)
    if entry.end:
        fields["end"] = entry.end
    return f"{_encode(fields)}\n".encode()


def decode_entry(line: bytes) -> Entry:
    """The entry in a line.

    Raises:
        ValueError: it is torn or damaged.
    """
    fields = json.loads(line)
    try:
        return Entry(
            metrics=tuple(
                MetricPoint(str(key), float(value), int(timestamp), int(step))
                for key, value, timestamp, step in fields.get("m", ())
            ),
            tags={str(key): str(value) for key, value in fields.get("t", {}).items()},
            end=tuple(fields["end"]) if "end" in fields else None,
        )
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"no entry: {error}") from error


def read_entries(segments: Sequence[Path]) -> Iterator[Entry]:
    """All whole entries of segments; a torn line, as a power failure leaves it, is told of and left out."""
    for path in segments:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield decode_entry(line)
                except ValueError:
                    logger.warning("%s: line %d is torn and left out", path, number)
