"""Where definitions and stored columns meet: a column is of the feature of its name."""

from dataclasses import dataclass
from datetime import datetime

from mlinfra.features.dependencies import full_name
from mlinfra.features.errors import FeatureInUse
from mlinfra.features.metadata import FeatureMetadata
from mlinfra.features.offline import OfflineStore
from mlinfra.features.registry import FeatureRegistry


@dataclass(frozen=True, slots=True)
class FeatureDescription:
    """A definition and where it is used.

    Attributes:
        definition: the definition.
        registered_at: when it was registered, in UTC.
        versions: every version of the feature, from the oldest to the newest.
        used_by: the definitions that depend on this version directly, as ``macd@1.0``.
        feature_groups: the groups that have a column of this name.
    """

    definition: FeatureMetadata
    registered_at: datetime
    versions: tuple[str, ...]
    used_by: tuple[str, ...]
    feature_groups: tuple[str, ...]


def describe(
    registry: FeatureRegistry, offline: OfflineStore, name: str, version: str | None
) -> FeatureDescription:
    """A definition and where it is used; raises `UnknownFeature`."""
    record = registry.record(name, version)
    return FeatureDescription(
        definition=record.feature,
        registered_at=record.registered_at,
        versions=tuple(registry.versions(name)),
        used_by=tuple(full_name(each) for each in registry.dependents(name, record.feature.version)),
        feature_groups=tuple(groups_with(offline, name)),
    )


def groups_with(offline: OfflineStore, feature: str) -> list[str]:
    """The feature groups that have a column of this name."""
    return [name for name in offline.groups() if feature in offline.group(name).features]


def delete_definition(registry: FeatureRegistry, offline: OfflineStore, name: str, version: str) -> None:
    """Remove a definition; see `FeatureStore.delete_feature`."""
    if list(registry.versions(name)) == [version]:
        groups = groups_with(offline, name)
        if groups:
            raise FeatureInUse(
                f"feature {name!r} has only version {version!r}, and its values are in feature group "
                f"{', '.join(groups)}: nobody could tell any more what they mean. Keep the definition"
            )
    registry.delete(name, version)
