"""What our own processes say at their end: a reason and a message as JSON. Pure."""

import json
import re

REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
MAX_REASON_LENGTH = 128


def told_at_the_end(termination_message: str) -> tuple[str, str] | None:
    """Reason and message of a termination message; None where it is not of ours."""
    try:
        told = json.loads(termination_message)
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    reason, message = told.get("reason"), told.get("message")
    if not isinstance(reason, str) or not isinstance(message, str):
        return None
    if not REASON.fullmatch(reason) or len(reason) > MAX_REASON_LENGTH:
        return None
    return reason, message
