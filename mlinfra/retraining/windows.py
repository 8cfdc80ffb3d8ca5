"""How many of the newest windows are looked at, and what a check comes to by them. Pure."""

from collections.abc import Sequence

from mlinfra.resources.monitoring import DriftPolicy, WindowedCheck
from mlinfra.retraining.triggers import MonitorOutcome

LOOK_BACK = 4
"""So many times ``ofWindows`` windows are looked at for what drifted and is not clear again, where the policy
has a threshold for that."""


def windows_looked_at(policy: WindowedCheck) -> int:
    """How many of the newest windows tell what a policy says."""
    clears = isinstance(policy, DriftPolicy) and policy.clear_threshold is not None
    return policy.of_windows * (LOOK_BACK if clears else 1)


def outcome_of_windows(outcomes: Sequence[MonitorOutcome], policy: WindowedCheck) -> MonitorOutcome:
    """What a check comes to by the outcomes of the newest windows, of which ``breachedWindows`` must breach.

    It is inconclusive where windows that tell nothing, or that are not there yet, might still decide it.

    Args:
        outcomes: of the newest windows, ``ofWindows`` at most.
        policy: how many must breach.
    """
    breached = sum(outcome is MonitorOutcome.BREACHED for outcome in outcomes)
    told = sum(outcome is not MonitorOutcome.INCONCLUSIVE for outcome in outcomes)
    if breached >= policy.breached_windows:
        return MonitorOutcome.BREACHED
    if breached + policy.of_windows - told >= policy.breached_windows:
        return MonitorOutcome.INCONCLUSIVE
    return MonitorOutcome.OK
