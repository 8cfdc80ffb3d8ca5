"""Where definitions and stored columns meet: a column is of the feature of its name."""

from mlinfra.features.errors import FeatureInUse
from mlinfra.features.offline import OfflineStore
from mlinfra.features.registry import FeatureRegistry


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
