"""How good the answers of a window were, from its counts. Pure."""

from collections.abc import Mapping

from mlinfra.monitoring.chunks import CountedWindow
from mlinfra.monitoring.class_performance import class_performance
from mlinfra.monitoring.class_tally import ClassTally
from mlinfra.monitoring.estimation.calibration import estimated_classes
from mlinfra.monitoring.estimation.expected_loss import estimated_values
from mlinfra.monitoring.measured import Measured
from mlinfra.monitoring.performance import AnswerWindow
from mlinfra.monitoring.profile import ReferenceProfile
from mlinfra.monitoring.value_performance import value_performance
from mlinfra.monitoring.value_tally import ValueTally


def answer_window(profile: ReferenceProfile, window: CountedWindow) -> AnswerWindow:
    """What is known of the answers: measured by labels, and estimated without."""
    return AnswerWindow(
        first=window.first,
        last=window.last,
        rows=window.counts.rows,
        labelled=window.counts.labelled,
        measured=_measured(profile, window),
        estimated=_estimated(profile, window),
    )


def _measured(profile: ReferenceProfile, window: CountedWindow) -> Mapping[str, Measured]:
    match window.counts.measured:
        case ClassTally() as tally:
            return class_performance(tally)
        case ValueTally() as sums if profile.scale is not None:
            return value_performance(sums, profile.scale)
    return {}


def _estimated(profile: ReferenceProfile, window: CountedWindow) -> Mapping[str, Measured]:
    counts = window.counts
    if profile.calibration is not None and counts.expected is not None:
        return estimated_classes(profile.calibration, counts.expected)
    if profile.loss_tree is not None and counts.leaves is not None:
        return estimated_values(profile.loss_tree, counts.leaves)
    return {}
