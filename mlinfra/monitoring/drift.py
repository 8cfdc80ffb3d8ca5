"""Whether what a model is asked differs from what it learnt from. Pure."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from mlinfra.errors import suggestion
from mlinfra.monitoring.calibration import benjamini_hochberg
from mlinfra.monitoring.chunks import CountedWindow
from mlinfra.monitoring.profile import ReferenceProfile
from mlinfra.monitoring.references import Cells, Reference
from mlinfra.monitoring.scores import drift_score, drift_scores
from mlinfra.resources.monitoring import DriftPolicy
from mlinfra.retraining.triggers import FeatureScore, MonitorOutcome, MonitorResult, RetrainingTrigger
from mlinfra.retraining.windows import outcome_of_windows, windows_looked_at

NAMED = 3


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """How far one column of a window is from its reference.

    Attributes:
        name: of the column.
        score: by the policy's method.
        threshold: what it drifts above; None of columns that decide nothing.
        drifted: whether it does.
        missing: share of its rows without a value.
        unusual: share beyond the range of the training rows, or of no category known there.
    """

    name: str
    score: float
    threshold: float | None
    drifted: bool
    missing: float
    unusual: float

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "score": self.score,
            "threshold": self.threshold,
            "drifted": self.drifted,
            "missing": self.missing,
            "unusual": self.unusual,
        }

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "ColumnDrift":
        """What `to_wire` gave."""
        return cls(**wire)


@dataclass(frozen=True, slots=True)
class WindowDrift:
    """What a policy says of one window.

    Attributes:
        first, last: event time of its first and last row.
        rows: how many, of which the features are known.
        features: those that the policy looks at, the one furthest beyond its threshold first.
        prediction: of what was answered; it decides nothing.
        label: of the labels that have come; None where there are none.
        outcome: breached where a feature drifted.
    """

    first: datetime
    last: datetime
    rows: int
    features: tuple[ColumnDrift, ...]
    prediction: ColumnDrift
    label: ColumnDrift | None
    outcome: MonitorOutcome

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The features that did."""
        return tuple(each for each in self.features if each.drifted)

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "rows": self.rows,
            "features": [each.to_wire() for each in self.features],
            "prediction": self.prediction.to_wire(),
            "label": self.label.to_wire() if self.label is not None else None,
            "outcome": self.outcome.value,
        }

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "WindowDrift":
        """What `to_wire` gave."""
        return cls(
            first=datetime.fromisoformat(wire["first"]),
            last=datetime.fromisoformat(wire["last"]),
            rows=wire["rows"],
            features=tuple(ColumnDrift.of_wire(each) for each in wire["features"]),
            prediction=ColumnDrift.of_wire(wire["prediction"]),
            label=ColumnDrift.of_wire(wire["label"]) if wire["label"] is not None else None,
            outcome=MonitorOutcome(wire["outcome"]),
        )


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What a check of drift came to.

    Attributes:
        method: how distributions were compared.
        windows: the newest ones, the oldest first.
        result: for the policy.
    """

    method: str
    windows: tuple[WindowDrift, ...]
    result: MonitorResult

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "method": self.method,
            "windows": [each.to_wire() for each in self.windows],
            "result": self.result.to_wire(),
        }

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "DriftReport":
        """What `to_wire` gave."""
        return cls(
            wire["method"],
            tuple(WindowDrift.of_wire(each) for each in wire["windows"]),
            MonitorResult.of_wire(wire["result"]),
        )


def check_drift(
    profile: ReferenceProfile, windows: Sequence[CountedWindow], policy: DriftPolicy, *, now: datetime
) -> DriftReport:
    """Apply a policy to windows.

    A window breaches where one of its features drifted: its score is above ``threshold``, or, where there is
    none, improbable on the training rows at ``falseAlarmRate`` over all features together. A feature that
    drifted in the window before still does until it is below ``clearThreshold``. The check is breached where
    ``breachedWindows`` of the newest ``ofWindows`` are; a window of fewer rows than ``minSamples`` is not.

    Args:
        profile: what the model learnt from.
        windows: whole ones, in the order of time.
        policy: what is watched.
        now: the time of the check, in event time.
    """
    unknown = set(policy.features) - set(profile.feature_names)
    if unknown:
        name = min(unknown)
        known = suggestion(name, profile.feature_names)
        message = f'drift.features: the model reads no feature "{name}"; {known}'
        return DriftReport(policy.method, (), _result(MonitorOutcome.ERROR, now, policy, message=message))
    watched = [each for each in profile.features if not policy.features or each.name in policy.features]
    looked_at = windows[-windows_looked_at(policy) :]
    scores = _scores(profile, watched, looked_at, policy)
    judged: list[WindowDrift] = []
    for window, own in zip(looked_at, scores, strict=True):
        before = {each.name for each in judged[-1].drifted} if judged else set()
        judged.append(_judged(profile, watched, window, own, policy, before))
    newest = tuple(judged[-policy.of_windows :])
    return DriftReport(policy.method, newest, _summary(newest, policy, now))


def _scores(
    profile: ReferenceProfile,
    watched: Sequence[Reference],
    windows: Sequence[CountedWindow],
    policy: DriftPolicy,
) -> list[dict[str, float]]:
    """Score of each watched feature, by name, in each window."""
    if not windows:
        return []
    cells = profile.layout.by_name(np.stack([each.counts.cells for each in windows]))
    scores = {name: found.tolist() for name, found in drift_scores(watched, cells, policy.method).items()}
    return [{name: found[place] for name, found in scores.items()} for place in range(len(windows))]


def _judged(
    profile: ReferenceProfile,
    watched: Sequence[Reference],
    window: CountedWindow,
    scores: Mapping[str, float],
    policy: DriftPolicy,
    before: Set[str],
) -> WindowDrift:
    counts = window.counts
    cells, rows = counts.features, counts.with_features
    thresholds = _thresholds(profile, scores, rows, policy)
    enough = rows >= policy.min_samples
    features = []
    for each in watched:
        threshold = thresholds[each.name]
        if each.name in before and policy.clear_threshold is not None:
            threshold = policy.clear_threshold
        drifted = enough and scores[each.name] > threshold
        features.append(_column(each, cells[each.name], scores[each.name], threshold, drifted=drifted))
    features.sort(key=lambda each: -each.score / (each.threshold or 1.0))
    breached = any(each.drifted for each in features)
    outcome = MonitorOutcome.BREACHED if breached else MonitorOutcome.OK
    label = profile.label
    return WindowDrift(
        first=window.first,
        last=window.last,
        rows=rows,
        features=tuple(features),
        prediction=_column(
            profile.prediction, counts.prediction, _score(profile.prediction, counts.prediction, policy)
        ),
        label=_column(label, counts.label, _score(label, counts.label, policy)) if counts.labelled else None,
        outcome=outcome if enough else MonitorOutcome.INCONCLUSIVE,
    )


def _thresholds(
    profile: ReferenceProfile, scores: Mapping[str, float], rows: int, policy: DriftPolicy
) -> dict[str, float]:
    if policy.threshold is not None:
        return dict.fromkeys(scores, policy.threshold)
    usual = {name: profile.usual(name, rows, policy.method) for name in scores}
    improbable = benjamini_hochberg(
        {name: usual[name].probability(score) for name, score in scores.items()}, policy.false_alarm_rate
    )
    return {name: each.score_at(improbable) for name, each in usual.items()}


def _score(reference: Reference, counts: Cells, policy: DriftPolicy) -> float:
    return float(drift_score(reference, reference.distribution(counts), policy.method))


def _column(
    reference: Reference,
    counts: Cells,
    score: float,
    threshold: float | None = None,
    *,
    drifted: bool = False,
) -> ColumnDrift:
    rows = max(int(counts.sum()), 1)
    return ColumnDrift(
        name=reference.name,
        score=score,
        threshold=threshold,
        drifted=drifted,
        missing=int(counts[-1]) / rows,
        unusual=reference.unusual(counts) / rows,
    )


def _summary(windows: Sequence[WindowDrift], policy: DriftPolicy, now: datetime) -> MonitorResult:
    breached = [each for each in windows if each.outcome is MonitorOutcome.BREACHED]
    if not windows:
        return _result(MonitorOutcome.INCONCLUSIVE, now, policy, message="no window has come to its end yet")
    outcome = outcome_of_windows([each.outcome for each in windows], policy)
    told = breached[-1] if outcome is MonitorOutcome.BREACHED else windows[-1]
    # The newest that are enough for a breach: an older one tells nothing that those do not.
    decisive = breached[-policy.breached_windows :] if outcome is MonitorOutcome.BREACHED else windows
    worst = told.features[0] if told.features else None
    return _result(
        outcome,
        windows[-1].last,
        policy,
        message=_message(told, windows, breached, policy),
        score=worst.score if worst else None,
        threshold=worst.threshold if worst else None,
        window_start=decisive[0].first,
        samples=told.rows,
        features=tuple(
            FeatureScore(each.name, each.score, each.threshold or 0.0)
            for each in (told.drifted if outcome is MonitorOutcome.BREACHED else ())
        ),
    )


def _message(
    told: WindowDrift, windows: Sequence[WindowDrift], breached: Sequence[WindowDrift], policy: DriftPolicy
) -> str:
    if told.outcome is MonitorOutcome.INCONCLUSIVE:
        least = policy.min_samples
        return f"the newest window has {told.rows:,} predictions, fewer than the {least:,} of minSamples"
    named = ", ".join(
        f"{each.name} {each.score:.3g} (above {each.threshold:.3g})" for each in told.drifted[:NAMED]
    )
    more = f" and {len(told.drifted) - NAMED} more" if len(told.drifted) > NAMED else ""
    what = (
        f"{policy.method} of {len(told.drifted)} of {len(told.features)} features: {named}{more}"
        if told.drifted
        else f"{policy.method}: none of {len(told.features)} features drifted"
    )
    return (
        f"{what}; {len(breached)} of the newest {len(windows)} windows drifted, "
        f"{policy.breached_windows} of {policy.of_windows} breach"
    )


def _result(
    outcome: MonitorOutcome, window_end: datetime, policy: DriftPolicy, *, message: str, **more: Any
) -> MonitorResult:
    return MonitorResult(
        RetrainingTrigger.DRIFT, outcome, window_end, message=message, metric=policy.method, **more
    )
