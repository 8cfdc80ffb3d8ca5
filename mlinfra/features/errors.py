"""What can go wrong with features, each with what to do about it."""

from typing import ClassVar

from mlinfra.errors import InvalidInputError, MlinfraError


class UnknownFeatureGroup(InvalidInputError):
    """No group of that name has been written."""

    reason: ClassVar[str] = "UnknownFeatureGroup"


class UnknownFeature(InvalidInputError):
    """A column or a definition that is not there."""

    reason: ClassVar[str] = "UnknownFeature"


class UnknownSnapshot(InvalidInputError):
    """No snapshot of that ID or name."""

    reason: ClassVar[str] = "UnknownSnapshot"


class InvalidFeatures(InvalidInputError):
    """Rows that cannot be stored: the message names the column and what is wrong with it."""

    reason: ClassVar[str] = "InvalidFeatures"


class ExpectationFailed(InvalidFeatures):
    """Rows break what is expected of a feature; the message names column, rule, count and first row."""

    reason: ClassVar[str] = "ExpectationFailed"


class InvalidDefinition(InvalidInputError):
    """A definition that cannot be registered as it is written."""

    reason: ClassVar[str] = "InvalidDefinition"


class MissingDependency(UnknownFeature):
    """A definition depends on a feature, or a version of it, that is not registered."""

    reason: ClassVar[str] = "MissingDependency"


class CyclicDependency(InvalidDefinition):
    """Dependencies lead from a feature back to itself; the message names each on the way."""

    reason: ClassVar[str] = "CyclicDependency"


class FeatureConflict(InvalidInputError):
    """What is written contradicts what is already there: another type, key, or definition."""

    reason: ClassVar[str] = "FeatureConflict"


class FeatureInUse(FeatureConflict):
    """A definition that others need is not deleted; the message lists them."""

    reason: ClassVar[str] = "FeatureInUse"


class InvalidDateRange(InvalidInputError):
    """A date that cannot be read, or a start after its end."""

    reason: ClassVar[str] = "InvalidDateRange"


class CorruptFeatures(InvalidInputError):
    """A file of the store is missing, truncated, or not what was written."""

    reason: ClassVar[str] = "CorruptFeatures"


class FeatureStoreUnavailable(MlinfraError):
    """The store's storage did not answer or is full: trying again may help."""
