"""What is expected of a feature's values, as a part of its definition."""

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Policy = Literal["reject", "quarantine", "warn"]
"""What becomes of rows that break an expectation.

    reject       nothing is written, and the write raises
    quarantine   they are set aside with the reason, the other rows are written
    warn         they are written like the others, and a warning tells
"""

Number = Annotated[int | float, Field(allow_inf_nan=False)]
Value = bool | int | float | str


class Expectations(BaseModel):
    """Rules that the values of a feature follow; a rule that is not given is not checked.

    A null breaks only ``max_null_share``.

    Attributes:
        minimum: the least value, itself allowed, in the unit of the feature; for numbers.
        maximum: the greatest value, itself allowed.
        max_null_share: the largest part of the rows of one write that may be null, 0 to 1.
        allowed_values: all values that there may be.
        on_violation: what becomes of rows that break a rule; see `Policy`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum: Number | None = None
    maximum: Number | None = None
    max_null_share: Annotated[float, Field(ge=0, le=1)] | None = None
    allowed_values: Annotated[tuple[Value, ...], Field(min_length=1)] | None = None
    on_violation: Policy = "reject"

    def __str__(self) -> str:
        """In a few words, for tables."""
        rules = []
        if self.minimum is not None and self.maximum is not None:
            rules.append(f"{self.minimum} to {self.maximum}")
        elif self.minimum is not None:
            rules.append(f"at least {self.minimum}")
        elif self.maximum is not None:
            rules.append(f"at most {self.maximum}")
        if self.allowed_values is not None:
            rules.append(f"one of {', '.join(map(str, self.allowed_values))}")
        if self.max_null_share is not None:
            rules.append(f"at most {self.max_null_share:.4g} null")
        return f"{'; '.join(rules)} ({self.on_violation})"

    @model_validator(mode="after")
    def _check(self) -> Self:
        rules = (self.minimum, self.maximum, self.max_null_share, self.allowed_values)
        if all(rule is None for rule in rules):
            raise ValueError("give at least one of minimum, maximum, max_null_share and allowed_values")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"the minimum {self.minimum} is above the maximum {self.maximum}")
        if any(isinstance(value, float) and not math.isfinite(value) for value in self.allowed_values or ()):
            raise ValueError("allowed_values are finite")
        return self
