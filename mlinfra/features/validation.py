"""What pydantic found wrong, in one line that people understand."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from mlinfra.errors import suggestion


def mistakes(error: ValueError, *, known: Iterable[str] = ()) -> str:
    """Every mistake, with its field and what was given; of an error of other making its first line.

    Args:
        error: what pydantic raised.
        known: the fields there are, told where one is given that there is not.
    """
    if not isinstance(error, ValidationError):
        return str(error).partition("\n")[0]
    names = tuple(known)
    return "; ".join(_told(mistake, names) for mistake in error.errors())


def _told(mistake: Any, known: Sequence[str]) -> str:
    field = ".".join(str(part) for part in mistake["loc"])
    given, message = mistake["input"], str(mistake["msg"]).removeprefix("Value error, ")
    if mistake["type"] == "extra_forbidden":
        return f"there is no field {field}" + (f"; {suggestion(field, known)}" if known else "")
    if mistake["type"] == "missing":
        return f"{field} is missing"
    if mistake["type"] == "string_type" and isinstance(given, int | float):
        return f'{field}: {given} is a number; write it in quotes, as "{given}"'
    shown = "" if isinstance(given, dict) else f" (got {given!r})"
    return f"{field + ': ' if field else ''}{message[:1].lower()}{message[1:]}{shown}"
