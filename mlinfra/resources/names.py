"""Labels, annotations, environment variables and exit codes: the names several parts agree on."""

MANAGED_LABEL = "mlinfra.io/managed"
"""``"true"`` on every Job, Deployment and Service that the operator makes; it watches only those with it."""
TRAINING_JOB_LABEL = "mlinfra.io/training-job"
"""On a child Job, its pods and the Service by which they meet: the name of the TrainingJob."""
TRAINING_JOB_UID_LABEL = "mlinfra.io/training-job-uid"
SPEC_STAMP_ANNOTATION = "mlinfra.io/spec-stamp"
"""On a child Job: a format, the TrainingJob's generation, and a digest of what may change while suspended."""
MODEL_LABEL = "mlinfra.io/model"
"""On a ModelVersion: the slug of its model's name."""
MODEL_VERSION_LABEL = "mlinfra.io/model-version"
"""On a Deployment of a served version and its pods: the version's number in MLflow's registry."""
BESIDE_LABEL_PREFIX = "mlinfra.io/beside-"
"""On pods of a served version, with its number and with that of the version beside which it is a canary: a
Service that selects by it leads to both."""

RETRAINING_POLICY_LABEL = "mlinfra.io/retraining-policy"
"""On a TrainingJob: the name of the RetrainingPolicy that created it."""
TRIGGER_ANNOTATION = "mlinfra.io/trigger"
"""On a TrainingJob of a policy: what asked for it, one of `RetrainingTrigger`."""
TRIGGER_KEY_ANNOTATION = "mlinfra.io/trigger-key"
"""On a TrainingJob of a policy: the scheduled time, the retrain annotation's value, or a window's end."""
TRIGGER_MESSAGE_ANNOTATION = "mlinfra.io/trigger-message"
EVIDENCE_ANNOTATION = "mlinfra.io/trigger-evidence"
"""On a TrainingJob of a policy: what the monitors said that asked for it, as a JSON list of results."""
POLICY_GENERATION_ANNOTATION = "mlinfra.io/policy-generation"
"""On a TrainingJob: ``metadata.generation`` of its RetrainingPolicy when that created it."""
CLOSE_BREAKER_ANNOTATION = "mlinfra.io/close-circuit-breaker"
"""On a RetrainingPolicy: each new value closes its circuit breaker once."""
CHECK_ANNOTATION = "mlinfra.io/check"
"""On a RetrainingPolicy: each new value has its monitors asked at once, once."""
RETRAIN_ANNOTATION = "mlinfra.io/retrain"
"""On a RetrainingPolicy: each new value starts one training."""

FIELD_MANAGER = "mlinfra-operator"
VERSION_FINALIZER = "mlinfra.io/registered-version"
"""On a ModelVersion whose deletion also deletes the version in MLflow."""

TRAINING_JOB_ENV = "MLINFRA_TRAINING_JOB"
"""The TrainingJob as JSON, ``{"metadata": {"name", "namespace", "uid"}, "spec": {...}}``."""
FEATURE_STORE_URI_ENV = "MLINFRA_FEATURE_STORE_URI"
SERVED_MODEL_ENV = "MLINFRA_SERVED_MODEL"
"""``models:/name/version`` that a model server serves."""
SERVED_DIGEST_ENV = "MLINFRA_SERVED_DIGEST"
"""SHA-256 that the model's file must have."""
MONITORING_URI_ENV = "MLINFRA_MONITORING_URI"
PREDICTION_LOG_URI_ENV = "MLINFRA_PREDICTION_LOG_URI"
SERVING_TOKEN_ENV = "MLINFRA_SERVING_TOKEN"
"""Bearer token that a model server asks for, and that is sent to it."""
TERMINATION_LOG_ENV = "MLINFRA_TERMINATION_LOG"
"""Where the training process writes its termination message (the container's terminationMessagePath)."""
CONTRACT_ENVIRONMENT = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_RUN_ID",
    TRAINING_JOB_ENV,
    FEATURE_STORE_URI_ENV,
    TERMINATION_LOG_ENV,
)
"""Set by the operator on every training container."""
SCRATCH_VOLUME = "mlinfra-scratch"
SCRATCH_PATH = "/mlinfra/scratch"
"""The one folder of a pod of ours that can be written to."""
SHARED_MEMORY_VOLUME = "mlinfra-shm"

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""On a child Job: the LocalQueue of Kueue that it waits in."""
QUEUE_PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"

EXIT_INVALID_INPUT = 78
"""Exit code (EX_CONFIG of sysexits.h) of a training process whose input can never work: no retry.
Its termination message is JSON, ``{"reason": CamelCase, "message": text}``."""
EXIT_TERMINATED = 143
"""Exit code (128 + SIGTERM) of a training process that was asked to stop, or stopped along with another."""
