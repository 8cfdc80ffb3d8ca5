"""Finds an architecture by its name: the built-in ones, and those that other packages offer."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mlinfra.errors import suggestion
from mlinfra.models.architecture import Architecture
from mlinfra.models.errors import ArchitectureUnavailableError, UnknownArchitectureError

ENTRY_POINT_GROUP = "mlinfra.architectures"
BUILT_IN: Mapping[str, EntryPoint] = {
    name: EntryPoint(name, f"mlinfra.models.{name}:ARCHITECTURE", ENTRY_POINT_GROUP)
    for name in ("cnn", "hybrid_cnn_lstm", "lstm", "mlp", "transformer")
}


def architecture_names() -> list[str]:
    """Names of all architectures that this installation offers, sorted; none is loaded."""
    return sorted(_offered())


def find_architecture(name: str) -> Architecture[Any]:
    """The architecture of that name.

    Raises:
        UnknownArchitectureError: no installed package offers it.
        ArchitectureUnavailableError: the package that offers it cannot be loaded.
    """
    offered = _offered()
    if name not in offered:
        raise UnknownArchitectureError(f'There is no architecture "{name}"; {suggestion(name, offered)}.')
    return _load(offered[name])


def _offered() -> dict[str, EntryPoint]:
    # Built-in names win: installing a package must not change what an existing spec trains.
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)} | dict(BUILT_IN)


def _load(point: EntryPoint) -> Architecture[Any]:
    try:
        loaded = point.load()
    except (ImportError, AttributeError) as error:
        raise ArchitectureUnavailableError(
            f'Architecture "{point.name}" is offered as {point.value}, which cannot be loaded: {error}.'
            " Repair or remove the package that offers it."
        ) from error
    if not isinstance(loaded, Architecture):
        raise ArchitectureUnavailableError(
            f'Architecture "{point.name}" is offered as {point.value}, which is a {type(loaded).__name__},'
            " not an mlinfra.models.architecture.Architecture."
        )
    return loaded
