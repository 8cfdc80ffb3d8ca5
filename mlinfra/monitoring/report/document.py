"""The document of a drift report: all that its page shows, and its form in JSON. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any, Literal

import numpy as np

from mlinfra.errors import InvalidInputError
from mlinfra.monitoring.chunks import CountedWindow
from mlinfra.monitoring.drift import ColumnDrift, WindowDrift, check_drift
from mlinfra.monitoring.profile import ReferenceProfile
from mlinfra.monitoring.references import Cells, Reference
from mlinfra.resources.monitoring import DriftPolicy
from mlinfra.retraining.triggers import MonitorOutcome

SCHEMA_VERSION = 1
MAX_WINDOWS = 100


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about.

    Attributes:
        model_name, model_version: empty where only a profile is known.
        data: where the rows came from, for people.
        notes: what a reader must know of how they were counted.
    """

    model_name: str
    model_version: str
    data: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoreAt:
    """A column's score in one of the windows; the threshold is None of columns that decide nothing."""

    score: float
    threshold: float | None
    drifted: bool

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {"score": self.score, "threshold": self.threshold, "drifted": self.drifted}


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """One column, in the reference and in the rows that are reported.

    Attributes:
        drift: over all rows.
        kind: ``numeric`` columns have bins in rising order, others a cell for each category.
        cells: what each cell holds, for people; cells that nobody fell into are left out.
        reference, now: rows by cell.
        reference_missing, reference_unusual: as `ColumnDrift.missing` and `ColumnDrift.unusual`, of the
            training rows.
        over_time: its score in each of the windows; None in windows that have none.
    """

    drift: ColumnDrift
    kind: Literal["numeric", "categorical"]
    cells: tuple[str, ...]
    reference: tuple[int, ...]
    now: tuple[int, ...]
    reference_missing: float
    reference_unusual: float
    over_time: tuple[ScoreAt | None, ...]

    def shares(self) -> tuple[list[float], list[float]]:
        """Of the reference's rows and of those now, by cell."""
        return _shares(self.reference), _shares(self.now)

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        reference, now = self.shares()
        return self.drift.to_wire() | {
            "kind": self.kind,
            "referenceMissing": self.reference_missing,
            "referenceUnusual": self.reference_unusual,
            "cells": [
                {"cell": cell, "referenceRows": old, "rows": new, "referenceShare": before, "share": after}
                for cell, old, new, before, after in zip(
                    self.cells, self.reference, self.now, reference, now, strict=True
                )
            ],
            "overTime": [each.to_wire() if each is not None else None for each in self.over_time],
        }


@dataclass(frozen=True, slots=True)
class DriftDocument:
    """A drift report.

    Attributes:
        subject: what it is about.
        profile: ID of the reference profile.
        periods: first and last date of each part of the training's rows.
        policy: what decided.
        whole: all rows as one window; its features are in the order of their rank.
        windows: its parts, in the order of time.
        features: in the order of their rank, the one furthest beyond its threshold first.
        prediction: what was answered; None where nothing was.
        label: what was right; None where no label was counted.
    """

    subject: Subject
    profile: str
    periods: Mapping[str, str]
    policy: DriftPolicy
    whole: WindowDrift
    windows: tuple[WindowDrift, ...]
    features: tuple[ColumnReport, ...]
    prediction: ColumnReport | None
    label: ColumnReport | None

    @property
    def drifted(self) -> tuple[ColumnReport, ...]:
        """The features that drifted over all rows."""
        return tuple(each for each in self.features if each.drift.drifted)

    def to_wire(self) -> dict[str, Any]:
        """As JSON; ``schemaVersion`` changes with what it means."""
        return {
            "schemaVersion": SCHEMA_VERSION,
            "modelName": self.subject.model_name,
            "modelVersion": self.subject.model_version,
            "data": self.subject.data,
            "notes": list(self.subject.notes),
            "profile": self.profile,
            "periods": dict(self.periods),
            "method": self.policy.method,
            "falseAlarmRate": self.policy.false_alarm_rate if self.policy.threshold is None else None,
            "first": self.whole.first.isoformat(),
            "last": self.whole.last.isoformat(),
            "rows": self.whole.rows,
            "outcome": self.whole.outcome.value,
            "driftedFeatures": [each.drift.name for each in self.drifted],
            "features": [each.to_wire() for each in self.features],
            "prediction": self.prediction.to_wire() if self.prediction is not None else None,
            "label": self.label.to_wire() if self.label is not None else None,
            "windows": [
                {
                    "first": each.first.isoformat(),
                    "last": each.last.isoformat(),
                    "rows": each.rows,
                    "outcome": each.outcome.value,
                    "driftedFeatures": [feature.name for feature in each.drifted],
                }
                for each in self.windows
            ],
        }


def drift_document(
    subject: Subject, profile: ReferenceProfile, windows: Sequence[CountedWindow], policy: DriftPolicy
) -> DriftDocument:
    """Compare a stretch of rows with a reference profile, as a whole and window by window.

    Args:
        subject: what the report is about.
        profile: what the model learnt from.
        windows: parts of the stretch in the order of time, at least one and at most `MAX_WINDOWS`.
        policy: the method and the thresholds; how many windows must breach does not matter.

    Raises:
        InvalidInputError: there are no windows or too many, or the policy names a feature that is none.
    """
    if not 1 <= len(windows) <= MAX_WINDOWS:
        raise InvalidInputError(f"a report has 1 to {MAX_WINDOWS} windows, not {len(windows)}")
    counts = reduce(add, (each.counts for each in windows))
    stretch = CountedWindow(min(each.first for each in windows), max(each.last for each in windows), counts)
    whole = _judged(profile, [stretch], policy)[0]
    parts = _judged(profile, windows, policy)
    references = {each.name: each for each in profile.features}
    by_name = [{each.name: each for each in part.features} for part in parts]
    cells = counts.features
    features = [
        _column(
            references[each.name],
            each,
            cells[each.name],
            [part[each.name] for part in by_name],
        )
        for each in whole.features
    ]
    answered = [
        part.prediction if window.counts.prediction.any() else None
        for part, window in zip(parts, windows, strict=True)
    ]
    prediction = _column(profile.prediction, whole.prediction, counts.prediction, answered)
    label = None
    if whole.label is not None:
        label = _column(profile.label, whole.label, counts.label, [part.label for part in parts])
    return DriftDocument(
        subject=subject,
        profile=profile.id,
        periods=profile.periods,
        policy=policy,
        whole=whole,
        windows=parts,
        features=tuple(features),
        prediction=_of_classes(prediction, profile) if counts.prediction.any() else None,
        label=_of_classes(label, profile) if label is not None else None,
    )


def _judged(
    profile: ReferenceProfile, windows: Sequence[CountedWindow], policy: DriftPolicy
) -> tuple[WindowDrift, ...]:
    every = policy.model_copy(update={"breached_windows": 1, "of_windows": len(windows)})
    report = check_drift(profile, windows, every, now=windows[-1].last)
    if report.result.outcome is MonitorOutcome.ERROR:
        raise InvalidInputError(report.result.message)
    return report.windows


def _column(
    reference: Reference, drift: ColumnDrift, counts: Cells, over_time: Sequence[ColumnDrift | None]
) -> ColumnReport:
    shown = (reference.counts > 0) | (counts > 0)
    rows = max(int(reference.counts.sum()), 1)
    labels = reference.cell_labels()
    return ColumnReport(
        drift=drift,
        kind="numeric" if reference.ordered else "categorical",
        cells=tuple(labels[place] for place in np.flatnonzero(shown)),
        reference=tuple(reference.counts[shown].tolist()),
        now=tuple(counts[shown].tolist()),
        reference_missing=int(reference.counts[-1]) / rows,
        reference_unusual=reference.unusual(reference.counts) / rows,
        over_time=tuple(
            ScoreAt(each.score, each.threshold, each.drifted) if each is not None else None
            for each in over_time
        ),
    )


def _of_classes(column: ColumnReport, profile: ReferenceProfile) -> ColumnReport:
    """With the value of each class in place of its index."""
    values = {str(place): str(value) for place, value in enumerate(profile.classes)}
    return replace(column, cells=tuple(values.get(cell, cell) for cell in column.cells))


def _shares(rows: Sequence[int]) -> list[float]:
    total = max(sum(rows), 1)
    return [each / total for each in rows]
