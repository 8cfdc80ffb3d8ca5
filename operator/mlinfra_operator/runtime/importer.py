"""Creates the ModelVersions of versions that were registered outside of Kubernetes."""

import logging

from pydantic import ValidationError

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.resource import MODEL_VERSIONS
from mlinfra.resources.names import FIELD_MANAGER
from mlinfra.tracking.errors import TrackingRefusedError, TrackingUnavailableError
from mlinfra_operator.modelversion.imports import (
    Import,
    ImportScope,
    build_imported,
    plan_imports,
    standing_versions,
)
from mlinfra_operator.runtime import mlflow_calls
from mlinfra_operator.runtime.cache import ObjectCache
from mlinfra_operator.runtime.mlflow_registry import Mlflow
from mlinfra_operator.runtime.work_queue import Retry

IMPORT_SECONDS = 60.0
"""How often MLflow is asked for new versions."""

logger = logging.getLogger(__name__)


class VersionImporter:
    """Imports what is new, each version once.

    Args:
        client: client of the cluster.
        mlflow: the MLflow server.
        versions: all ModelVersions.
        scope: what to import, and where to.
    """

    def __init__(
        self, client: KubernetesClient, mlflow: Mlflow, versions: ObjectCache, scope: ImportScope
    ) -> None:
        self._client = client
        self._mlflow = mlflow
        self._versions = versions
        self._scope = scope
        self._refused: set[tuple[str, str]] = set()

    async def run_once(self) -> float:
        """Import what is new; seconds after which to look again.

        Raises:
            Retry: MLflow does not answer.
        """
        try:
            listed = await self._mlflow.call(mlflow_calls.all_versions)
            standing = standing_versions(list(self._versions), self._scope.namespace)
            for each in plan_imports(listed, standing, self._scope):
                await self._import(each)
        except TrackingUnavailableError as error:
            logger.warning("versions registered outside are not looked for: %s", error)
            raise Retry from error
        except TrackingRefusedError as error:
            logger.warning("versions registered outside are not looked for: %s", error)
        return IMPORT_SECONDS

    async def _import(self, found: Import) -> None:
        version, namespace = found.version, self._scope.namespace
        key = (version.model, version.version)
        name = found.standing
        if name is None:
            try:
                manifest = build_imported(version, namespace)
                created = await self._client.create(
                    MODEL_VERSIONS, manifest, namespace, field_manager=FIELD_MANAGER
                )
            except (ApiError, ValidationError) as error:
                # A name that no resource can hold, or a missing namespace, is not to keep the others back.
                if key not in self._refused:
                    logger.warning(
                        "version %s of %s is not imported: %s", version.version, version.model, error
                    )
                self._refused.add(key)
                return
            name = str(created["metadata"]["name"])
            logger.info("version %s of %s imported as ModelVersion %s", version.version, version.model, name)
        self._refused.discard(key)
        # Afterwards: what was created and not remembered is found standing next time.
        await self._mlflow.call(
            mlflow_calls.mark_imported, version.model, version.version, f"{namespace}/{name}"
        )
