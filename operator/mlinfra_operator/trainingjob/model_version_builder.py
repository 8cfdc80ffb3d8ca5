"""The ModelVersion that comes out of a TrainingJob. Pure."""

from typing import Any

from mlinfra.resources import TrainingJob
from mlinfra.resources.model_version import ModelVersionSource, ModelVersionSpec
from mlinfra.resources.names import MODEL_LABEL
from mlinfra.resources.training_job_status import Lineage
from mlinfra_operator.naming import model_version_name, slug


def build_model_version(
    job: TrainingJob, *, version: str, run_id: str, lineage: Lineage | None
) -> dict[str, Any]:
    """The manifest. It has no owner: to delete a TrainingJob must not take its model from Production."""
    spec, promotion = job.spec, job.spec.promotion
    lineage = lineage or Lineage()
    wanted = ModelVersionSpec(
        model_name=spec.model_name,
        version=version,
        source=ModelVersionSource(
            run_id=run_id,
            training_job=job.metadata.name,
            retraining_policy=lineage.retraining_policy,
            trigger=lineage.trigger,
            message=lineage.message,
            evidence=lineage.evidence,
            feature_snapshot=lineage.feature_snapshot,
            image_digest=lineage.image_digest,
        ),
        stage=promotion.stage if promotion.auto else None,
        gates=promotion.gates,
        challenger=promotion.challenger,
        approval="PendingManualApproval" if promotion.approval == "Manual" else "Approved",
        deletion_policy=promotion.deletion_policy,
        serving=spec.serving,
    )
    return {
        "apiVersion": job.api_version,
        "kind": "ModelVersion",
        "metadata": {
            "name": model_version_name(spec.model_name, version),
            "namespace": job.metadata.namespace,
            "labels": {MODEL_LABEL: slug(spec.model_name)},
        },
        "spec": wanted.to_wire(),
    }
