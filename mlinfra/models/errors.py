"""What can be wrong with an architecture and its parameters."""

from typing import ClassVar

from mlinfra.errors import InvalidInputError, MlinfraError


class UnknownArchitectureError(InvalidInputError):
    """No installed package offers an architecture of that name."""

    reason: ClassVar[str] = "UnknownArchitecture"


class ArchitectureUnavailableError(InvalidInputError):
    """A package offers the architecture, but it cannot be loaded."""

    reason: ClassVar[str] = "ArchitectureUnavailable"


class InvalidNetworkError(InvalidInputError):
    """The network of an architecture does not give what every network must."""

    reason: ClassVar[str] = "InvalidNetwork"


class InvalidParameterError(InvalidInputError):
    """A parameter that the architecture does not have, or a value that it does not take."""

    reason: ClassVar[str] = "InvalidParameter"


class ForeignModelError(MlinfraError):
    """A model whose metadata do not tell what it reads: another library wrote it, or they are damaged."""
