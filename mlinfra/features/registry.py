"""The registered definitions: readable JSON, versioned, never overwritten.

<folder>/<name>/<version>.json             a definition
<folder>/<name>/_deleted/<version>.json    one that was deleted: its version is not given another meaning
"""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlinfra.errors import suggestion
from mlinfra.features.dependencies import Versions, check_dependencies, dependents_of, full_name, upstream_of
from mlinfra.features.errors import CorruptFeatures, FeatureConflict, FeatureInUse, UnknownFeature
from mlinfra.features.files import storage_errors
from mlinfra.features.lineage import Lineage, lineage_of
from mlinfra.features.metadata import FeatureMetadata, changes, is_name, version_order
from mlinfra.features.storage import StillHeld, Storage
from mlinfra.features.validation import mistakes

DELETED_FOLDER = "_deleted"
DEFINITION_FILE = re.compile(r"(?P<name>[^/_][^/]*)/(?P<version>[^/_][^/]*)\.json")


class RegisteredFeature(BaseModel):
    """A definition as its file holds it.

    Attributes:
        format: version of the file's format: 2 where the definition has expectations, which a release that
            writes 1 does not know.
        registered_at: when it was registered first, in UTC.
        feature: the definition.
    """

    model_config = ConfigDict(frozen=True)

    format: Annotated[int, Field(ge=1, le=2)] = 1
    registered_at: datetime
    feature: FeatureMetadata


class FeatureRegistry:
    """The definitions under one folder of a storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        # A file never changes: what a writer needs at each write is read once.
        self._read: dict[str, FeatureMetadata] = {}

    def register(self, *definitions: FeatureMetadata) -> None:
        """Store definitions, all of them or, if one is refused, none; the same ones again change nothing.

        They may depend on one another, in any order.

        Raises:
            FeatureConflict: a version exists, or was deleted, with another content.
            InvalidDefinition, MissingDependency, CyclicDependency: see `mlinfra.features.dependencies`.
        """
        with self._locked() as still_held:
            new = _distinct(each for each in definitions if not self._is_registered(each))
            versions = self._versions(new)
            for definition in new:
                check_dependencies(definition, versions, self._names)
            now = datetime.now(UTC)
            for definition in _in_order(new, versions):
                stored = _registered(definition, now)
                still_held()
                self._storage.publish(_file_of(definition), _content(stored))

    def delete(self, name: str, version: str) -> None:
        """Remove a definition that no other one resolves a dependency to.

        Raises:
            UnknownFeature: there is no such feature or version.
            FeatureInUse: the message lists those that depend on it.
        """
        with self._locked() as still_held:
            record = self.record(name, version)
            dependents = self.dependents(name, version)
            if dependents:
                users = ", ".join(full_name(each) for each in dependents)
                raise FeatureInUse(
                    f"feature {name!r} version {version!r} is used by {users}; delete those first, or "
                    "register versions of them that do without it"
                )
            still_held()
            deleted = _file_of(record.feature, folder=DELETED_FOLDER)
            if not self._storage.exists(deleted):
                self._storage.publish(deleted, _content(record))
            self._storage.delete(_file_of(record.feature))

    def all(self) -> list[FeatureMetadata]:
        """Every version of every feature, by name and then from the oldest version to the newest."""
        with storage_errors(self._storage.where()):
            files = [entry.name for entry in self._storage.entries(recursive=True)]
            found = [self._load(name).feature for name in files if DEFINITION_FILE.fullmatch(name)]
        return sorted(found, key=lambda each: (each.name, version_order(each.version)))

    def versions(self, name: str) -> dict[str, FeatureMetadata]:
        """The versions of a feature by their number, from the oldest to the newest; none if unknown."""
        return {number: self._load(f"{name}/{number}.json").feature for number in self._numbers(name)}

    def newest(self, names: Iterable[str]) -> dict[str, FeatureMetadata]:
        """The newest definition of each of these features that is registered, by name."""
        with storage_errors(self._storage.where()):
            files = [entry.name for entry in self._storage.entries(recursive=True)]
        wanted = set(names)
        numbers: dict[str, list[str]] = {}
        for match in filter(None, map(DEFINITION_FILE.fullmatch, files)):
            if match["name"] in wanted:
                numbers.setdefault(match["name"], []).append(match["version"])
        newest = {name: f"{name}/{max(found, key=version_order)}.json" for name, found in numbers.items()}
        for file in newest.values():
            if file not in self._read:
                self._read[file] = self._load(file).feature
        return {name: self._read[file] for name, file in newest.items()}

    def record(self, name: str, version: str | None = None) -> RegisteredFeature:
        """One definition with the time it was registered, the newest version by default.

        Raises:
            UnknownFeature: there is no such feature or version.
        """
        numbers = self._numbers(name)
        if not numbers:
            raise UnknownFeature(f"feature {name!r} is not registered; {suggestion(name, self._names())}")
        if version is not None and version not in numbers:
            raise UnknownFeature(
                f"feature {name!r} has no version {version!r}; there are: {', '.join(numbers)}"
            )
        return self._load(f"{name}/{version or numbers[-1]}.json")

    def dependents(self, name: str, version: str) -> list[FeatureMetadata]:
        """The definitions that depend on a version directly; raises `UnknownFeature`."""
        definition = self.record(name, version).feature
        everything = self.all()
        return dependents_of(definition, everything, _indexed(everything))

    def lineage(self, name: str, version: str | None = None) -> Lineage:
        """What a feature is computed from and what is computed from it; raises `UnknownFeature`."""
        definition = self.record(name, version).feature
        everything = self.all()
        return lineage_of(definition, everything, _indexed(everything))

    @contextmanager
    def _locked(self) -> Iterator[StillHeld]:
        with storage_errors(self._storage.where()), self._storage.exclusive("_lock") as still_held:
            yield still_held

    def _is_registered(self, definition: FeatureMetadata) -> bool:
        name, deleted = _file_of(definition), _file_of(definition, folder=DELETED_FOLDER)
        if self._storage.exists(name):
            _refuse_difference(self._load(name).feature, definition, state="registered")
            return True
        if self._storage.exists(deleted):
            stored = self._load(deleted).feature
            _refuse_difference(stored, definition, state="deleted, and was registered")
        return False

    def _versions(self, new: Sequence[FeatureMetadata]) -> Versions:
        """What is registered, and the new ones; each feature is read once."""

        @functools.cache
        def versions(name: str) -> dict[str, FeatureMetadata]:
            found = self.versions(name) | {each.version: each for each in new if each.name == name}
            return {number: found[number] for number in sorted(found, key=version_order)}

        return versions

    def _names(self) -> set[str]:
        return {each.name for each in self.all()}

    def _numbers(self, name: str) -> list[str]:
        """Versions of a feature, from the oldest to the newest."""
        if not is_name(name):
            return []
        with storage_errors(self._storage.where(name)):
            files = [entry.name for entry in self._storage.entries(name)]
        matches = filter(None, map(DEFINITION_FILE.fullmatch, files))
        return sorted((match["version"] for match in matches), key=version_order)

    def _load(self, file: str) -> RegisteredFeature:
        where = self._storage.where(file)
        try:
            with storage_errors(where):
                return RegisteredFeature.model_validate_json(self._storage.read(file))
        except ValidationError as error:
            raise CorruptFeatures(f"{where} is not a feature definition: {mistakes(error)}") from error


def _file_of(definition: FeatureMetadata, *, folder: str | None = None) -> str:
    middle = f"{folder}/" if folder else ""
    return f"{definition.name}/{middle}{definition.version}.json"


def _registered(definition: FeatureMetadata, now: datetime) -> RegisteredFeature:
    format_ = 1 if definition.expectations is None else 2
    return RegisteredFeature(format=format_, registered_at=now, feature=definition)


def _content(stored: RegisteredFeature) -> bytes:
    return stored.model_dump_json(indent=2, exclude_none=True).encode() + b"\n"


def _distinct(definitions: Iterable[FeatureMetadata]) -> list[FeatureMetadata]:
    found: dict[str, FeatureMetadata] = {}
    for each in definitions:
        _refuse_difference(found.setdefault(full_name(each), each), each, state="given twice")
    return list(found.values())


def _in_order(new: Sequence[FeatureMetadata], versions: Versions) -> list[FeatureMetadata]:
    """What is depended upon comes first, so that a store never holds a definition without what it needs."""
    upstream = {each: [found for found in upstream_of(each, versions) if found in new] for each in new}
    return list(TopologicalSorter(upstream).static_order())


def _indexed(definitions: Iterable[FeatureMetadata]) -> Versions:
    by_name: dict[str, dict[str, FeatureMetadata]] = {}
    for each in definitions:
        by_name.setdefault(each.name, {})[each.version] = each
    return lambda name: by_name.get(name, {})


def _refuse_difference(stored: FeatureMetadata, given: FeatureMetadata, *, state: str) -> None:
    changed = [f"{each.field}: {each.before!r} became {each.after!r}" for each in changes(stored, given)]
    if changed:
        raise FeatureConflict(
            f"feature {given.name!r} version {given.version!r} is {state} with another definition "
            f"({'; '.join(changed)}); register the change as a new version"
        )
