"""Which version a rollback brings back. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlinfra.errors import InvalidInputError
from mlinfra.resources import ModelVersion


class NoRollbackError(InvalidInputError):
    """There is no version to leave, or none to go back to."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """The version that leaves Production, and the one that takes it again."""

    current: ModelVersion
    previous: ModelVersion


def rollback_of(model_name: str, versions: Sequence[ModelVersion]) -> Rollback:
    """From the version in Production to the one that had it before.

    Args:
        model_name: the registered model.
        versions: ModelVersions of one namespace, of any model.

    Raises:
        NoRollbackError: none is in Production, or none was before it.
    """
    own = [version for version in versions if version.spec.model_name == model_name]
    if not own:
        known = sorted({version.spec.model_name for version in versions})
        listed = f"there are versions of: {', '.join(known)}" if known else "there are no ModelVersions"
        raise NoRollbackError(f"no ModelVersion of model {model_name!r} in this namespace; {listed}")
    current = holder_of(own)
    if current is None:
        raise NoRollbackError(f"no version of {model_name} is in Production: there is nothing to leave")
    earlier = [(time, version) for version in own if version != current and (time := in_production(version))]
    since = in_production(current) or ""
    before = [found for found in earlier if found[0] <= since] or earlier
    if not before:
        raise NoRollbackError(
            f"no other version of {model_name} was in Production before {current.metadata.name}"
        )
    previous = max(before, key=lambda found: (found[0], int(found[1].spec.version)))[1]
    return Rollback(current, previous)


def holder_of(versions: Sequence[ModelVersion]) -> ModelVersion | None:
    """The version in Production: for a moment the one before says so too, and the newest claim counts."""
    holders = [version for version in versions if version.status.phase == "Production"]
    return max(holders, key=lambda each: each.status.production_claimed_at or "", default=None)


def in_production(version: ModelVersion) -> str | None:
    """When the version last came to Production, RFC 3339; None where it never did."""
    times = [change.time for change in version.status.history if change.stage == "Production"]
    return max(times, default=None)
