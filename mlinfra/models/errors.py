"""What can be wrong with an architecture and its parameters."""

from difflib import get_close_matches
from typing import ClassVar

from mlinfra.errors import InvalidInputError


class UnknownArchitectureError(InvalidInputError):
    """No installed package offers an architecture of that name."""

    reason: ClassVar[str] = "UnknownArchitecture"


class ArchitectureUnavailableError(InvalidInputError):
    """A package offers the architecture, but it cannot be loaded."""

    reason: ClassVar[str] = "ArchitectureUnavailable"


class InvalidParameterError(InvalidInputError):
    """A parameter that the architecture does not have, or a value that it does not take."""

    reason: ClassVar[str] = "InvalidParameter"


def suggestion(name: str, known: list[str]) -> str:
    """`` Did you mean "x"?`` where a known name is close, else nothing."""
    close = get_close_matches(name, known, n=1)
    return f' Did you mean "{close[0]}"?' if close else ""
