"""Stages of model versions: MLflow's own stage, the alias and the tag, kept together.

MLflow deprecates its stages in favour of aliases, and an alias can only name the two stages that one
version holds at a time. The tag tells the stage to readers of MLflow versions without stages.
"""

import inspect
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast, get_args

from mlinfra.resources.promotion import Stage
from mlinfra.tracking.contract import STAGE_ALIASES, STAGE_TAG
from mlinfra.tracking.errors import TrackingRefusedError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ABSENT = "RESOURCE_DOES_NOT_EXIST"
ATTEMPTS = 5
STAGES: tuple[Stage, ...] = get_args(Stage)


def set_stage(client: "MlflowClient", name: str, version: str, stage: Stage) -> bool:
    """Bring a version's stage, aliases and tag in MLflow to ``stage``; what is right is not written again.

    The alias of the stage moves to this version from any other. Other versions keep their MLflow
    stage and tag: archive them with a call of their own.

    Args:
        client: client of the MLflow server.
        name: name of the registered model.
        version: number of the version, as MLflow's string.
        stage: the stage it should have.

    Returns:
        Whether anything had to be written.

    Raises:
        MlflowException: MLflow does not answer, or has no such version.
    """
    return _bring(client, client.get_model_version(name, version), stage)


def _bring(client: "MlflowClient", found: "ModelVersion", stage: Stage) -> bool:
    name, version = found.name, str(found.version)
    wanted_alias = STAGE_ALIASES.get(stage)
    surplus = [alias for alias in STAGE_ALIASES.values() if alias in found.aliases and alias != wanted_alias]
    for alias in surplus:
        client.delete_registered_model_alias(name, alias)
    tag_differs = found.tags.get(STAGE_TAG) != stage
    if tag_differs:
        client.set_model_version_tag(name, version, STAGE_TAG, stage)
    stage_differs = found.current_stage != stage
    if stage_differs:
        _transition(client, name, version, stage)
    # The alias comes last: whoever resolves it finds the version complete.
    alias_differs = wanted_alias is not None and wanted_alias not in found.aliases
    if wanted_alias is not None and alias_differs:
        client.set_registered_model_alias(name, wanted_alias, version)
    return bool(surplus) or tag_differs or stage_differs or alias_differs


def take_production(client: "MlflowClient", name: str, version: str, *, demoted: Iterable[str]) -> None:
    """Bring a version to Production in place of ``demoted`` ones, which become Archived.

    Whoever reads by `effective_stage` sees exactly one version in Production all the while.

    Args:
        client: client of the MLflow server.
        name: name of the registered model.
        version: number of the version that takes Production.
        demoted: numbers of all other versions in Production, by MLflow's stage or by alias.

    Raises:
        MlflowException: MLflow does not answer, or has no such version.
    """
    others = tuple(demoted)
    for other in others:
        _transition(client, name, other, "Archived")
    client.set_registered_model_alias(name, STAGE_ALIASES["Production"], version)
    set_stage(client, name, version, "Production")
    for other in others:
        found = client.get_model_version(name, other)
        # One that has the alias again took Production after this one did.
        if STAGE_ALIASES["Production"] not in found.aliases:
            _bring(client, found, "Archived")


def move_to_stage(client: "MlflowClient", name: str, version: str, stage: Stage) -> None:
    """Bring a version to a stage as its only holder of Production, and leave alias, stage and tag agreeing.

    Several clients may do so at once: the one that moves the alias last wins, and the others' versions
    become Archived.

    Args:
        client: client of the MLflow server.
        name: name of the registered model.
        version: number of the version, as MLflow's string.
        stage: the stage it should have.

    Raises:
        TrackingRefusedError: others moved the model's versions all the while.
        MlflowException: MLflow does not answer, or has no such model or version.
    """
    if stage == "Production":
        client.get_model_version(name, version)
        others = [each for each in _claimants(client, name) if each != version]
        take_production(client, name, version, demoted=others)
    else:
        set_stage(client, name, version, stage)
    for _ in range(ATTEMPTS):
        holder, claimants = _alias_holder(client, name), _claimants(client, name)
        if holder is None and not claimants:
            return
        # Another client was at it at the same time, or died in the middle: its version, or the newest.
        winner = holder or max(claimants, key=int)
        others = [each for each in claimants if each != winner]
        if holder == winner and not others and not set_stage(client, name, winner, "Production"):
            return
        take_production(client, name, winner, demoted=others)
    raise TrackingRefusedError(
        f"The stages of {name} are changed by somebody else at the same time. Call again when they are done."
    )


def production_version(client: "MlflowClient", name: str) -> str | None:
    """The version in Production: by its alias first, then the newest by MLflow's own stage.

    None where there is none, or no such model.

    Raises:
        MlflowException: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != ABSENT:
            raise
        return None
    if (holder := aliases.get(STAGE_ALIASES["Production"])) is not None:
        return str(holder)
    staged = [each for each in model_versions(client, name) if each.current_stage == "Production"]
    return max((str(each.version) for each in staged), key=int, default=None)


def _alias_holder(client: "MlflowClient", name: str) -> str | None:
    holder = client.get_registered_model(name).aliases.get(STAGE_ALIASES["Production"])
    return None if holder is None else str(holder)


def _claimants(client: "MlflowClient", name: str) -> list[str]:
    """Versions that alias, stage or tag calls Production."""
    holder = _alias_holder(client, name)
    return [
        str(each.version)
        for each in model_versions(client, name)
        if "Production" in (each.current_stage, each.tags.get(STAGE_TAG)) or str(each.version) == holder
    ]


def model_versions(client: "MlflowClient", name: str) -> "Iterator[ModelVersion]":
    """All versions of a model. Their aliases are absent: a search leaves them out."""
    quote = '"' if "'" in name else "'"
    token = None
    while True:
        page = client.search_model_versions(f"name={quote}{name}{quote}", page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def stage_of(version: "ModelVersion") -> Stage:
    """The stage a version has in MLflow; an alias beats MLflow's own stage."""
    return effective_stage(version.aliases, version.current_stage)


def effective_stage(aliases: Iterable[str], current_stage: str | None) -> Stage:
    """The stage that aliases and MLflow's own stage amount to; of two stage aliases Production counts."""
    held = set(aliases)
    for stage, alias in STAGE_ALIASES.items():
        if alias in held:
            return cast(Stage, stage)
    return current_stage if current_stage in STAGES else "None"


def _transition(client: "MlflowClient", name: str, version: str, stage: Stage) -> None:
    # The undecorated method: the decorator only warns of the deprecation, and silencing warnings
    # for the length of a call is not safe in a thread pool.
    inspect.unwrap(type(client).transition_model_version_stage)(client, name, version, stage)
