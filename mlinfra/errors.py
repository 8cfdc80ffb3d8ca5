"""The errors that a user can cause, and their common base."""

import difflib
from collections.abc import Iterable
from typing import ClassVar

NAMES_LISTED = 20


class MlinfraError(Exception):
    """An expected error: its message tells what was wrong, where, and what to do."""


class InvalidInputError(MlinfraError):
    """Input that can never work, however often it is tried.

    ``reason`` is its cause for machines, in CamelCase: it becomes the reason of a condition.
    """

    reason: ClassVar[str] = "InvalidInput"


def suggestion(name: str, known: Iterable[str]) -> str:
    """The names there are, and the one that may have been meant: the end of an error message."""
    names = sorted(known)
    if not names:
        return "there are none yet"
    close = difflib.get_close_matches(name, names, n=1)
    more = f" and {len(names) - NAMES_LISTED} more" if len(names) > NAMES_LISTED else ""
    listed = ", ".join(names[:NAMES_LISTED]) + more
    return f"did you mean {close[0]}? There are: {listed}" if close else f"there are: {listed}"


def in_a_line(error: Exception) -> str:
    """What a library's error says, which may have several lines and bytes of a damaged file, in one line."""
    words = "".join(each if each.isprintable() else " " for each in str(error)).split()
    return " ".join(words)
