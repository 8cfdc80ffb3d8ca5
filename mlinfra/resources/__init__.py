"""The three custom resources as pydantic models: the single source of the CRDs.

Nothing here imports torch, pandas, MLflow or kopf: the operator, the command line and the
training pod all read the same models.
"""

from mlinfra.resources.model_version import (
    ModelVersion,
    ModelVersionSource,
    ModelVersionSpec,
    ModelVersionStatus,
    Stage,
)
from mlinfra.resources.retraining_policy import RetrainingPolicy, RetrainingPolicySpec
from mlinfra.resources.retraining_policy_status import RetrainingPolicyStatus
from mlinfra.resources.training_job import (
    TrainingJob,
    TrainingJobSpec,
    TrainingJobStatus,
)

__all__ = [
    "ModelVersion",
    "ModelVersionSource",
    "ModelVersionSpec",
    "ModelVersionStatus",
    "RetrainingPolicy",
    "RetrainingPolicySpec",
    "RetrainingPolicyStatus",
    "Stage",
    "TrainingJob",
    "TrainingJobSpec",
    "TrainingJobStatus",
]
