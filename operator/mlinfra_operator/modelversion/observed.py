"""What is observed of a ModelVersion. Plain values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlinfra.resources.names import FIELD_MANAGER
from mlinfra_operator.modelversion.claims import Claim
from mlinfra_operator.modelversion.succession import Successor
from mlinfra_operator.tracking import MeasuredRun, RegisteredModel


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a plan decides on; None means not asked yet.

    Attributes:
        registry: the registered model with all its versions.
        run: what the version's run measured.
        claims: claims to Production of the model's other versions.
        successors: versions that a version in Production waits for before it leaves.
        elder: name of the older ModelVersion that stands for the same version.
        twin: name of another ModelVersion that stands for it and is not being deleted.
        stage_is_ours: whether nobody but the operator asked for the stage in the spec.
        unavailable: why MLflow cannot be asked now.
        refused: what MLflow refused.
    """

    registry: RegisteredModel | Literal["absent"] | None = None
    run: MeasuredRun | None = None
    claims: tuple[Claim, ...] = ()
    successors: tuple[Successor, ...] = ()
    elder: str | None = None
    twin: str | None = None
    stage_is_ours: bool = False
    unavailable: str | None = None
    refused: str | None = None


def stage_is_ours(managed_fields: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the operator's field manager, and no other, owns ``spec.stage``."""
    owners = {
        entry.get("manager")
        for entry in managed_fields
        if "f:stage" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    }
    return owners == {FIELD_MANAGER}


def elder_of(obj: Mapping[str, Any], twins: Iterable[Mapping[str, Any]]) -> str | None:
    """Of ModelVersions of one version, the name of the one that counts; None where it is ``obj``."""
    first = min((obj, *twins), key=_age)
    return None if first is obj else str(first["metadata"]["name"])


def _age(obj: Mapping[str, Any]) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("creationTimestamp", ""), metadata["name"]
