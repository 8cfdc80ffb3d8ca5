"""The base of every error that a user can cause."""


class MlinfraError(Exception):
    """An expected error: its message tells what was wrong, where, and what to do."""
