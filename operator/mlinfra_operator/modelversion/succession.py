"""Whom a version waits for before it leaves Production, so that at no moment none is there. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

AWAITS_SUCCESSOR = "AwaitsSuccessor"
"""Reason of a version in Production that is to leave it, and stays until another one is there."""
FOR_GOOD = frozenset(
    {"VersionNotFound", "OwnedByOtherNamespace", "DuplicateVersion", "Rejected", "InvalidResource"}
)
"""Reasons for which a version does not come to Production by itself."""
Decision = Literal["open", "kept out"]


@dataclass(frozen=True, slots=True)
class Successor:
    """A ModelVersion that asks for Production and is not there.

    Attributes:
        name: of the ModelVersion.
        decision: whether the operator has yet to decide on what its spec asks for, or keeps it out of
            Production although it was there before.
        told: why it is kept out.
    """

    name: str
    decision: Decision
    told: str = ""


def successors_of(others: Iterable[Mapping[str, Any]]) -> tuple[Successor, ...]:
    """Those of a model's other ModelVersions that a version in Production waits for.

    A version that is kept out and never was in Production is no successor, nor is one that cannot come there:
    they might be waited for for ever.

    Args:
        others: as the API server has them, without those that are being deleted.
    """
    found = (_successor(obj) for obj in others)
    return tuple(each for each in found if each is not None)


def _successor(obj: Mapping[str, Any]) -> Successor | None:
    status: Mapping[str, Any] = obj.get("status") or {}
    if obj["spec"].get("stage") != "Production":
        return None
    name = str(obj["metadata"]["name"])
    conditions = {each.get("type"): each for each in status.get("conditions") or ()}
    reconciling = conditions.get("Reconciling", {})
    # What MLflow refuses it refuses again.
    under_way = reconciling.get("status") == "True" and reconciling.get("reason") != "MLflowRefused"
    if under_way or status.get("observedGeneration") != obj["metadata"].get("generation"):
        return Successor(name, "open")
    was_there = any(change.get("stage") == "Production" for change in status.get("history") or ())
    for_good = conditions.get("Ready", {}).get("reason") in FOR_GOOD
    if status.get("phase") == "Production" or not was_there or for_good:
        return None
    return Successor(name, "kept out", str(conditions.get("Ready", {}).get("message", "")))
