"""Files that are whole or not there: written beside their place, flushed, renamed."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

PRIVATE = 0o600
PRIVATE_FOLDER = 0o700


def write_atomically(path: Path, content: bytes, *, mode: int = PRIVATE) -> None:
    """Replace a file's content so that a reader or a crash sees the old or the new one, never half.

    Args:
        path: the file; its folder must exist.
        content: the whole content.
        mode: permission bits; readable by its owner alone by default.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically and readable by its owner alone."""
    write_atomically(path, json.dumps(value, indent=2, sort_keys=True).encode() + b"\n")


def read_json(path: Path) -> Any | None:
    """The value in a JSON file, or None where there is no such file or it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter, with its parents."""
    path.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
