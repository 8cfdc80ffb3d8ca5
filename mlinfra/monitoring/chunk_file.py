"""The format of a file of counts: JSON with a line for each chunk.

A file is replaced often, and most of its chunks stay what they were: they are neither written as JSON nor
read from it again. Files of an earlier release have one line, and are read all the same.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlinfra.monitoring.chunks import Chunk, Kept

SCHEMA_VERSION = 1
FIRST_OF_CHUNK = b'{"first":'


class CountsWriter:
    """Writes the files of one replica; of one thread."""

    def __init__(self) -> None:
        self._texts: dict[int, tuple[Chunk, str]] = {}

    def content(self, kept: Kept, **beside: Any) -> bytes:
        """The file of what is kept, with more fields beside it."""
        self._texts = {id(each): self._text(each) for each in (*kept.chunks, *kept.late)}
        fields = {
            "schemaVersion": json.dumps(SCHEMA_VERSION),
            "chunks": self._lines(kept.chunks),
            "late": self._lines(kept.late),
            "position": json.dumps(dict(kept.position)),
            **{name: json.dumps(value, separators=(",", ":")) for name, value in beside.items()},
        }
        return ("{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}").encode()

    def _text(self, chunk: Chunk) -> tuple[Chunk, str]:
        """Its JSON, with the chunk itself, so that nothing else has its identity meanwhile."""
        before = self._texts.get(id(chunk))
        return before or (chunk, json.dumps(chunk.to_wire(), separators=(",", ":")))

    def _lines(self, chunks: Sequence[Chunk]) -> str:
        return "[\n" + ",\n".join(self._texts[id(each)][1] for each in chunks) + "\n]"


class CountsReader:
    """Reads one file again and again; of one thread.

    Args:
        classes: whether the model tells classes apart.
    """

    def __init__(self, *, classes: bool) -> None:
        self._classes = classes
        self._known: dict[bytes, Chunk] = {}

    def read(self, content: bytes) -> tuple[Kept, Mapping[str, Any]]:
        """What was kept, and all other fields.

        Raises:
            KeyError, TypeError, ValueError, IndexError: no one can read it any more.
        """
        frame, lines = _without_chunks(content)
        wire = json.loads(frame)
        if wire["schemaVersion"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {wire['schemaVersion']!r}")
        chunks = [self._chunk(line) for line in lines]

        def listed(entries: Sequence[Any]) -> tuple[Chunk, ...]:
            return tuple(chunks[each] if isinstance(each, int) else self._of_wire(each) for each in entries)

        kept = Kept(
            listed(wire["chunks"]), listed(wire.get("late", [])), position_of(wire.get("position", {}))
        )
        self._known = {_digest(line): chunk for line, chunk in zip(lines, chunks, strict=True)}
        return kept, wire

    def _chunk(self, line: bytes) -> Chunk:
        known = self._known.get(_digest(line))
        return known if known is not None else self._of_wire(json.loads(line))

    def _of_wire(self, wire: Mapping[str, Any]) -> Chunk:
        return Chunk.of_wire(wire, classes=self._classes)


def position_of(wire: Mapping[str, Any]) -> dict[str, int]:
    """How far a replica had come, by names of its own."""
    return {str(name): int(value) for name, value in wire.items()}


def _without_chunks(content: bytes) -> tuple[bytes, list[bytes]]:
    """The file with the place of each chunk's line in its stead, and the lines."""
    frame: list[bytes] = []
    lines: list[bytes] = []
    for line in content.split(b"\n"):
        if line.startswith(FIRST_OF_CHUNK):
            text = line.removesuffix(b",")
            frame.append(b"%d%s" % (len(lines), line[len(text) :]))
            lines.append(text)
        else:
            frame.append(line)
    return b"\n".join(frame), lines


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()
