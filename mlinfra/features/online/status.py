"""What a read can say of one value."""

from enum import IntEnum

NEVER = -(2**63)
"""Event time of a row that is not there, in nanoseconds: numpy's "not a time"."""


class FeatureStatus(IntEnum):
    """Status of one value; all but `PRESENT` come with NaN.

    Attributes:
        PRESENT: the value counts.
        NULL: the newest row of the entity has no value for this feature.
        MISSING: nothing was ever written: no row of the entity, or a row older than the feature.
        EXPIRED: the row is older than the time to live.
    """

    PRESENT = 0
    NULL = 1
    MISSING = 2
    EXPIRED = 3
