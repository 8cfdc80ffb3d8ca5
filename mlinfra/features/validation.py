"""What pydantic found wrong, in one line that people understand."""

from typing import Any

from pydantic import ValidationError


def mistakes(error: ValueError) -> str:
    """Every mistake, with its field and what was given; of an error of other making its first line."""
    if not isinstance(error, ValidationError):
        return str(error).partition("\n")[0]
    return "; ".join(_told(mistake) for mistake in error.errors())


def _told(mistake: Any) -> str:
    field = ".".join(str(part) for part in mistake["loc"])
    given, message = mistake["input"], str(mistake["msg"]).removeprefix("Value error, ")
    if mistake["type"] == "extra_forbidden":
        return f"there is no field {field}"
    if mistake["type"] == "missing":
        return f"{field} is missing"
    if mistake["type"] == "string_type" and isinstance(given, int | float):
        return f'{field}: {given} is a number; write it in quotes, as "{given}"'
    shown = "" if isinstance(given, dict) else f" (got {given!r})"
    return f"{field + ': ' if field else ''}{message[:1].lower()}{message[1:]}{shown}"
