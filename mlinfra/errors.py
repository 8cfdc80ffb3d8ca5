"""The errors that a user can cause, and their common base."""

from typing import ClassVar


class MlinfraError(Exception):
    """An expected error: its message tells what was wrong, where, and what to do."""


class InvalidInputError(MlinfraError):
    """Input that can never work, however often it is tried.

    ``reason`` is its cause for machines, in CamelCase: it becomes the reason of a condition.
    """

    reason: ClassVar[str] = "InvalidInput"
