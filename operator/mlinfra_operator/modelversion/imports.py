"""Which versions that were registered outside of Kubernetes get a ModelVersion. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mlinfra.resources.base import API_VERSION
from mlinfra.resources.model_version import ModelVersionSource, ModelVersionSpec
from mlinfra.resources.names import MODEL_LABEL
from mlinfra.tracking.contract import IMPORTED_TAG, TRAINING_JOB_UID_TAG
from mlinfra_operator.naming import model_version_name, slug
from mlinfra_operator.tracking import ListedVersion


@dataclass(frozen=True, slots=True)
class ImportScope:
    """What is imported, and where to.

    Attributes:
        namespace: where the ModelVersions are created.
        models: patterns of names, such as ``fraud-*``; every model where there are none.
    """

    namespace: str
    models: tuple[str, ...] = ()

    def covers(self, version: ListedVersion) -> bool:
        """Whether the version is of a model of the namespace, or of nobody, that a pattern names."""
        named = not self.models or any(fnmatchcase(version.model, each) for each in self.models)
        return named and version.owner in (None, self.namespace)


@dataclass(frozen=True, slots=True)
class Import:
    """A version to remember as imported, after its ModelVersion is created where there is none yet.

    Attributes:
        standing: name of the ModelVersion that stands for it already.
    """

    version: ListedVersion
    standing: str | None = None


def plan_imports(
    listed: Iterable[ListedVersion], standing: Mapping[tuple[str, str], str], scope: ImportScope
) -> tuple[Import, ...]:
    """What to import, in the order of models and versions.

    A version gets a ModelVersion once: one that somebody deleted does not come back. What a TrainingJob
    registered is left to it.

    Args:
        listed: all versions in MLflow.
        standing: names of the namespace's ModelVersions by model and version.
        scope: what to import.
    """
    wanted = [
        version
        for version in listed
        if scope.covers(version) and not ({IMPORTED_TAG, TRAINING_JOB_UID_TAG} & set(version.tags))
    ]
    wanted.sort(key=lambda each: (each.model, int(each.version)))
    return tuple(Import(each, standing.get((each.model, each.version))) for each in wanted)


def standing_versions(objects: Collection[Mapping[str, Any]], namespace: str) -> dict[tuple[str, str], str]:
    """Names of a namespace's ModelVersions by model and version."""
    return {
        (str(obj["spec"].get("modelName")), str(obj["spec"].get("version"))): str(obj["metadata"]["name"])
        for obj in objects
        if obj["metadata"].get("namespace") == namespace
    }


def build_imported(version: ListedVersion, namespace: str) -> dict[str, Any]:
    """The manifest; it asks for no stage, so that MLflow goes on to own it."""
    source = ModelVersionSource(run_id=version.run_id) if version.run_id else None
    wanted = ModelVersionSpec(model_name=version.model, version=version.version, source=source)
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {
            "name": model_version_name(version.model, version.version),
            "namespace": namespace,
            "labels": {MODEL_LABEL: slug(version.model)},
        },
        "spec": wanted.to_wire(),
    }
