"""The TrainingJob that a RetrainingPolicy creates. Pure."""

import hashlib
from typing import Any

from mlinfra.resources import RetrainingPolicy
from mlinfra.resources.names import (
    EVIDENCE_ANNOTATION,
    POLICY_GENERATION_ANNOTATION,
    RETRAINING_POLICY_LABEL,
    TRIGGER_ANNOTATION,
    TRIGGER_KEY_ANNOTATION,
    TRIGGER_MESSAGE_ANNOTATION,
)
from mlinfra.resources.training_job import MAX_NAME_LENGTH
from mlinfra.retraining.triggers import Request
from mlinfra_operator.monitor_evidence import to_annotation

HASH_LENGTH = 10


def training_job_name(policy_name: str, request: Request) -> str:
    """The same request always has the same name, so that it cannot be trained twice."""
    digest = hashlib.sha256(f"{request.trigger}\0{request.key}".encode()).hexdigest()[:HASH_LENGTH]
    # Pods take their host names from it, which hold no dots.
    head = policy_name.replace(".", "-")[: MAX_NAME_LENGTH - HASH_LENGTH - 1].rstrip("-")
    return f"{head}-{digest}"


def build_training_job(policy: RetrainingPolicy, request: Request) -> dict[str, Any]:
    """The manifest of the TrainingJob that answers a request."""
    metadata, template = policy.metadata, policy.spec.training_job_template
    labels = (template.metadata.labels if template.metadata else None) or {}
    annotations = (template.metadata.annotations if template.metadata else None) or {}
    return {
        "apiVersion": policy.api_version,
        "kind": "TrainingJob",
        "metadata": {
            "name": training_job_name(metadata.name, request),
            "namespace": metadata.namespace,
            "labels": {**labels, RETRAINING_POLICY_LABEL: metadata.name},
            "annotations": {
                **annotations,
                TRIGGER_ANNOTATION: request.trigger.value,
                TRIGGER_KEY_ANNOTATION: request.key,
                TRIGGER_MESSAGE_ANNOTATION: request.message,
                POLICY_GENERATION_ANNOTATION: str(metadata.generation),
                **({EVIDENCE_ANNOTATION: to_annotation(request.evidence)} if request.evidence else {}),
            },
            "ownerReferences": [
                {
                    "apiVersion": policy.api_version,
                    "kind": policy.kind,
                    "name": metadata.name,
                    "uid": metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": template.spec.to_wire(),
    }
