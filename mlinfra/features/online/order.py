"""Which of two rows of an entity stays: the later event, then the later creation."""

from dataclasses import dataclass

from mlinfra.features.online.packed import STAMPS


@dataclass(frozen=True, slots=True)
class Precedence:
    """How rows that are written stand against those that are there.

    Attributes:
        force: they replace whatever is there.
        event_is_now: nobody told their event time. They are then no older than what is there: clocks of
            two machines differ, and a write that says nothing of time means "from now on".
        created_is_now: nobody told their creation time; likewise, of equal events the later write wins.
    """

    force: bool = False
    event_is_now: bool = False
    created_is_now: bool = True


def row_that_stays(stored: bytes | None, given: bytes, precedence: Precedence) -> bytes | None:
    """The row to store, or None where the stored one stays as it is."""
    if stored is None or precedence.force:
        return given
    stored_event, stored_created = STAMPS.unpack_from(stored)
    event, created = STAMPS.unpack_from(given)
    if precedence.event_is_now:
        event = max(event, stored_event)
    if event < stored_event:
        return None
    if event == stored_event:
        if precedence.created_is_now:
            created = max(created, stored_created)
        if created < stored_created:
            return None
    return STAMPS.pack(event, created) + given[STAMPS.size :]
