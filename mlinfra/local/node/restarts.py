"""Whether and when a container that ended is started again. Pure."""

FIRST_DELAY_SECONDS = 10.0
LONGEST_DELAY_SECONDS = 300.0
FORGIVEN_SECONDS = 600.0
"""After so long a run, an end is no crash: the delays begin anew."""


def is_restarted(policy: str, exit_code: int) -> bool:
    """Whether a pod's restartPolicy asks for it."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def crashes_in_a_row(before: int, lasted: float) -> int:
    """How many ends in a row count, with that of a run which lasted so many seconds."""
    return 1 if lasted > FORGIVEN_SECONDS else before + 1


def restart_delay(crashes: int) -> float:
    """Seconds to wait after so many crashes in a row: doubled each time, as a kubelet does."""
    return float(min(FIRST_DELAY_SECONDS * 2 ** min(crashes - 1, 16), LONGEST_DELAY_SECONDS))
