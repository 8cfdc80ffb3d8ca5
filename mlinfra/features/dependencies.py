"""What a feature is computed from, and whether that is there.

A dependency is written as one of

    rsi          the feature, in its newest version at any time
    rsi@1.0      the feature in exactly this version
    raw:close    a column of the raw data, which is no feature and needs no definition
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mlinfra.errors import suggestion
from mlinfra.features.errors import CyclicDependency, InvalidDefinition, MissingDependency
from mlinfra.features.metadata import FeatureMetadata, is_name

RAW_PREFIX = "raw:"
VERSION_SEPARATOR = "@"

Versions = Callable[[str], dict[str, FeatureMetadata]]
"""The versions of a feature by their number, from the oldest to the newest; none for a name unknown."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """One entry of ``FeatureMetadata.dependencies``.

    Attributes:
        name: name of the feature or of the raw column.
        version: version of the feature; None stands for the newest.
        is_raw: whether it is a column of the raw data.
    """

    name: str
    version: str | None = None
    is_raw: bool = False

    def __str__(self) -> str:
        if self.is_raw:
            return f"{RAW_PREFIX}{self.name}"
        return self.name if self.version is None else f"{self.name}{VERSION_SEPARATOR}{self.version}"


def full_name(definition: FeatureMetadata) -> str:
    """Name and version, as a dependency is written."""
    return f"{definition.name}{VERSION_SEPARATOR}{definition.version}"


def parse_dependency(text: str) -> Dependency:
    """The dependency that a text names.

    Raises:
        InvalidDefinition: the text is none of the three kinds.
    """
    dependency = stored_dependency(text)
    if dependency.is_raw:
        parts = [dependency.name.strip()]
    else:
        parts = [part for part in (dependency.name, dependency.version) if part is not None]
    if not all(parts) or not (dependency.is_raw or all(is_name(part) for part in parts)):
        raise InvalidDefinition(
            f"{text!r} is no dependency; write a feature as 'rsi' or 'rsi@1.0', and a column of the raw data "
            "as 'raw:close'"
        )
    return dependency


def stored_dependency(text: str) -> Dependency:
    """The dependency that a text of an earlier release names, however it was written."""
    if text.startswith(RAW_PREFIX):
        return Dependency(text.removeprefix(RAW_PREFIX), is_raw=True)
    name, separator, version = text.partition(VERSION_SEPARATOR)
    return Dependency(name, version if separator else None)


def resolve(dependency: Dependency, versions: Versions) -> FeatureMetadata | None:
    """The definition that a dependency stands for; None for a raw column and where there is none."""
    if dependency.is_raw:
        return None
    found = versions(dependency.name)
    if dependency.version is not None:
        return found.get(dependency.version)
    return next(reversed(found.values()), None)


def upstream_of(definition: FeatureMetadata, versions: Versions) -> Iterator[FeatureMetadata]:
    """The definitions that one depends on directly; those that are missing are left out."""
    for text in definition.dependencies:
        found = resolve(stored_dependency(text), versions)
        if found is not None:
            yield found


def check_dependencies(new: FeatureMetadata, versions: Versions, known_names: Callable[[], set[str]]) -> None:
    """Refuse a definition whose dependencies are not there, or lead back to it.

    Args:
        new: the definition; ``versions`` gives it already.
        versions: what is registered.
        known_names: names of all features, for the message.

    Raises:
        InvalidDefinition: a dependency is written wrongly.
        MissingDependency: a feature, or this version of it, is not registered.
        CyclicDependency: the message names the whole cycle.
    """
    for text in new.dependencies:
        dependency = parse_dependency(text)
        if not dependency.is_raw and resolve(dependency, versions) is None:
            raise MissingDependency(_missing(new, dependency, versions, known_names))
    cycle = find_cycle(new, versions)
    if cycle:
        path = " → ".join(full_name(each) for each in cycle)
        raise CyclicDependency(
            f"feature {new.name!r} version {new.version!r} would depend on itself: {path}; leave one of "
            "these dependencies out, or pin an earlier version, as in 'rsi@1.0'"
        )


def find_cycle(start: FeatureMetadata, versions: Versions) -> list[FeatureMetadata]:
    """A path of dependencies from a definition back to it, both ends included; empty if there is none."""
    path: list[FeatureMetadata] = [start]
    open_branches = [upstream_of(start, versions)]
    seen: set[str] = set()
    while open_branches:
        following = next(open_branches[-1], None)
        if following is None:
            open_branches.pop()
            path.pop()
        elif following == start:
            return [*path, start]
        elif full_name(following) not in seen:
            seen.add(full_name(following))
            path.append(following)
            open_branches.append(upstream_of(following, versions))
    return []


def dependents_of(
    definition: FeatureMetadata, all_definitions: Iterable[FeatureMetadata], versions: Versions
) -> list[FeatureMetadata]:
    """The definitions that depend on this version directly, as things are now."""
    return [each for each in all_definitions if definition in upstream_of(each, versions)]


def _missing(
    new: FeatureMetadata, dependency: Dependency, versions: Versions, known_names: Callable[[], set[str]]
) -> str:
    found = versions(dependency.name)
    depends = f"feature {new.name!r} version {new.version!r} depends on '{dependency}'"
    if found:
        return f"{depends}, a version that is not registered; there are: {', '.join(found)}"
    known = known_names() - {new.name}
    return (
        f"{depends}, which is not registered; {suggestion(dependency.name, known)}. Register it first, or "
        f"write '{RAW_PREFIX}{dependency.name}' if it is a column of the raw data"
    )
