"""Definitions of features: readable JSON, versioned, never overwritten."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlinfra.errors import suggestion
from mlinfra.features.errors import CorruptFeatures, FeatureConflict, UnknownFeature
from mlinfra.features.files import storage_errors
from mlinfra.features.storage import Storage

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
"""Of features, versions and groups: they are names of files and folders."""
DEFINITION_FILE = re.compile(r"^[^/]+/[^/]+\.json$")

Name = Annotated[str, Field(max_length=128, pattern=NAME_PATTERN)]


class FeatureMetadata(BaseModel):
    """What a feature means and where it comes from.

    Attributes:
        name: name of the feature: the column of its group.
        version: version of its definition; a changed definition takes a new one.
        description: its meaning, with unit and range.
        feature_type: kind of feature, such as ``technical``.
        data_type: type of its values, such as ``float``.
        source: what computes it.
        dependencies: names of the features and columns it is computed from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    version: Name = "1.0"
    description: str = ""
    feature_type: str = ""
    data_type: str = "float"
    source: str = ""
    dependencies: tuple[str, ...] = ()


class _StoredDefinition(BaseModel):
    """A definition as its file holds it."""

    model_config = ConfigDict(frozen=True)

    format: Annotated[int, Field(ge=1, le=1)] = 1
    registered_at: datetime
    feature: FeatureMetadata


class FeatureRegistry:
    """The definitions under one folder: ``<folder>/<name>/<version>.json``."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def register(self, metadata: FeatureMetadata) -> None:
        """Store a definition; the same one again changes nothing.

        Raises:
            FeatureConflict: this version exists with another content.
        """
        name = f"{metadata.name}/{metadata.version}.json"
        with storage_errors(self._storage.where(name)), self._storage.exclusive("_lock") as still_held:
            if self._storage.exists(name):
                _refuse_difference(self._load(name), metadata)
                return
            stored = _StoredDefinition(registered_at=datetime.now(UTC), feature=metadata)
            still_held()
            self._storage.publish(name, stored.model_dump_json(indent=2).encode() + b"\n")

    def all(self) -> list[FeatureMetadata]:
        """Every version of every feature, by name and then from the oldest version to the newest."""
        with storage_errors(self._storage.where()):
            entries = self._storage.entries(recursive=True)
            found = [self._load(entry.name) for entry in entries if DEFINITION_FILE.match(entry.name)]
        return sorted(found, key=lambda each: (each.name, _version_order(each.version)))

    def get(self, name: str, version: str | None = None) -> FeatureMetadata:
        """One definition, the newest version by default.

        Raises:
            UnknownFeature: there is no such feature or version.
        """
        versions = {each.version: each for each in self.all() if each.name == name}
        if not versions:
            known = {each.name for each in self.all()}
            raise UnknownFeature(f"feature {name!r} is not registered; {suggestion(name, known)}")
        if version is None:
            return versions[max(versions, key=_version_order)]
        if version not in versions:
            raise UnknownFeature(
                f"feature {name!r} has no version {version!r}; {suggestion(version, versions)}"
            )
        return versions[version]

    def _load(self, name: str) -> FeatureMetadata:
        where = self._storage.where(name)
        try:
            with storage_errors(where):
                return _StoredDefinition.model_validate_json(self._storage.read(name)).feature
        except ValidationError as error:
            raise CorruptFeatures(f"{where} is not a feature definition: {error}") from error


def _refuse_difference(stored: FeatureMetadata, given: FeatureMetadata) -> None:
    before, after = stored.model_dump(), given.model_dump()
    changed = [f"{key}: {before[key]!r} became {after[key]!r}" for key in before if before[key] != after[key]]
    if changed:
        raise FeatureConflict(
            f"feature {given.name!r} version {given.version!r} is registered with another definition "
            f"({'; '.join(changed)}); register the change as a new version"
        )


def _version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """1.10 comes after 1.9: runs of digits compare as numbers, after all other text."""
    parts = re.findall(r"\d+|\D+", version)
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)
