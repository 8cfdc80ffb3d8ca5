"""What a write, or a check of stored rows, found out about the expectations."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mlinfra.features.inspection import Violation

VIOLATIONS_TOLD = 5


class ExpectationWarning(UserWarning):
    """Rows were written that break an expectation, or were set aside; ``report`` tells which."""

    def __init__(self, report: "WriteReport") -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What became of the rows of one write.

    Attributes:
        feature_group: the group written to.
        rows_written: rows in the group now.
        rows_quarantined: rows set aside; see `FeatureStore.read_quarantined_features`.
        violations: every expectation that rows break.
    """

    feature_group: str
    rows_written: int
    rows_quarantined: int
    violations: tuple[Violation, ...]

    def __str__(self) -> str:
        aside = f", {self.rows_quarantined} quarantined" if self.rows_quarantined else ""
        text = f"feature group {self.feature_group!r}: {self.rows_written} rows written{aside}"
        return f"{text}; {told(self.violations)}" if self.violations else text


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check of stored rows found.

    Attributes:
        feature_group: the group that was checked.
        rows: how many rows were.
        features: the features whose expectations were checked.
        unchecked: the columns that have none.
        violations: every expectation that rows break.
    """

    feature_group: str
    rows: int
    features: tuple[str, ...]
    unchecked: tuple[str, ...]
    violations: tuple[Violation, ...]

    @property
    def ok(self) -> bool:
        """Whether no expectation is broken."""
        return not self.violations


OnReport = Callable[[WriteReport], None]


def warn_of_violations(report: WriteReport) -> None:
    """Tell of rows that break expectations in a Python warning."""
    if report.violations:
        warnings.warn(ExpectationWarning(report), stacklevel=4)


def told(violations: Iterable[Violation]) -> str:
    """The first violations in a line."""
    found = list(violations)
    more = f"; and {len(found) - VIOLATIONS_TOLD} more" if len(found) > VIOLATIONS_TOLD else ""
    return "; ".join(str(each) for each in found[:VIOLATIONS_TOLD]) + more
