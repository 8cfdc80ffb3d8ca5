"""TrainingJob: train one model once, register the result, and ask for its stage."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_camel

from mlinfra.resources.base import (
    API_VERSION,
    Integer,
    ObjectMeta,
    ResourceModel,
    UniqueBy,
)
from mlinfra.resources.built_in_training import (
    Checkpoint,
    EarlyStopping,
    Export,
    ModelArchitecture,
    TrainingData,
    TrainingParameters,
    Validation,
)
from mlinfra.resources.label import Labels
from mlinfra.resources.model_name import ModelName
from mlinfra.resources.names import (
    CONTRACT_ENVIRONMENT,
    SCRATCH_PATH,
    SCRATCH_VOLUME,
    SHARED_MEMORY_VOLUME,
)
from mlinfra.resources.pod import (
    EnvFromSource,
    EnvVar,
    FreeFormObject,
    LocalObjectReference,
    ProcessesPerNode,
    ResourceRequirements,
    Toleration,
    Volume,
    VolumeMount,
)
from mlinfra.resources.promotion import Challenger, DeletionPolicy, GateList
from mlinfra.resources.queue import Queue
from mlinfra.resources.serving import Serving
from mlinfra.resources.training_job_status import (
    Metric,
    MetricList,
    MlflowRun,
    ModelVersionReference,
    Phase,
    TrainerStatus,
    TrainingJobStatus,
)

__all__ = [
    "Checkpoint",
    "EarlyStopping",
    "Export",
    "Metric",
    "MetricList",
    "MlflowRun",
    "ModelArchitecture",
    "ModelName",
    "ModelVersionReference",
    "Phase",
    "Promotion",
    "Queue",
    "TrainerStatus",
    "TrainingData",
    "TrainingJob",
    "TrainingJobSpec",
    "TrainingJobStatus",
    "TrainingParameters",
    "Validation",
]

ALWAYS_MUTABLE = ("suspend", "ttl_seconds_after_finished")
MUTABLE_WHILE_SUSPENDED = (
    "resources_per_node",
    "node_selector",
    "tolerations",
    "affinity",
    "backoff_limit",
    "active_deadline_seconds",
)
WHILE_SUSPENDED = "oldSelf.spec.suspend"
INSTEAD_OF_A_CHANGE = "delete the TrainingJob and apply it again, or use another name"
MAX_NAME_LENGTH = 52
"""Of a TrainingJob: its Job's pods append their own suffix."""
MODEL_WITHOUT_DATA = "model and data belong together: give both, or neither and your own image or command"
NOTHING_TO_RUN = "give model and data for the built-in trainer, or command or image for your own code"
NAME_TOO_LONG = f"metadata.name must have at most {MAX_NAME_LENGTH} characters: pod names derive from it"
WEIGHTS_WITHOUT_CLASSES = "training.classWeights weigh classes: leave them out where data.task is Regression"
CHECKPOINT_OF_OWN_CODE = "checkpoint belongs to the built-in trainer: give model and data"
GANG_OF_ONE = "gangScheduling starts several pods together: give numNodes above 1"
UNKNOWN_VOLUME = "every volumeMount needs the volume it names"
OWN_VOLUMES = (SCRATCH_VOLUME, SHARED_MEMORY_VOLUME)
RESERVED_ENVIRONMENT = f"env may not set what the operator sets: {', '.join(CONTRACT_ENVIRONMENT)}"
RESERVED_VOLUME = f"volumes may not be named {' or '.join(OWN_VOLUMES)}: every pod has these"
RESERVED_PATH = f"volumeMounts may not mount at {SCRATCH_PATH}: every pod has its scratch volume there"


class Promotion(ResourceModel):
    """What becomes of the registered version."""

    auto: Annotated[
        bool, Field(description="Whether the version claims its stage as soon as its gates pass.")
    ] = True
    stage: Annotated[
        Literal["Staging", "Production"], Field(description="The stage that the version claims.")
    ] = "Production"
    gates: GateList = Field(default_factory=list)
    challenger: Annotated[
        Challenger | None,
        Field(description="Compare with the version in Production; passed where there is none."),
    ] = None
    approval: Annotated[
        Literal["Automatic", "Manual"],
        Field(description="Whether a person must approve the version before it takes its stage."),
    ] = "Automatic"
    deletion_policy: DeletionPolicy = "Retain"


class TrainingJobSpec(ResourceModel):
    """Desired state of a TrainingJob; most of it is immutable once created."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.model) == has(self.data)",
                    "message": MODEL_WITHOUT_DATA,
                },
                {
                    "rule": "has(self.model) || has(self.command) || has(self.image)",
                    "message": NOTHING_TO_RUN,
                },
                {
                    "rule": "!has(self.data) || self.data.task != 'Regression'"
                    " || self.training.classWeights == 'None'",
                    "message": WEIGHTS_WITHOUT_CLASSES,
                },
                {
                    "rule": "!has(self.checkpoint) || has(self.model)",
                    "message": CHECKPOINT_OF_OWN_CODE,
                },
                {
                    "rule": "!self.gangScheduling || self.numNodes > 1",
                    "message": GANG_OF_ONE,
                },
                {
                    "rule": "!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes)"
                    " && self.volumes.exists(v, v.name == m.name))",
                    "message": UNKNOWN_VOLUME,
                },
                {
                    "rule": f"!has(self.env) || !self.env.exists(e, e.name in {list(CONTRACT_ENVIRONMENT)})",
                    "message": RESERVED_ENVIRONMENT,
                },
                {
                    "rule": f"!has(self.volumes) || !self.volumes.exists(v, v.name in {list(OWN_VOLUMES)})",
                    "message": RESERVED_VOLUME,
                },
                {
                    "rule": "!has(self.volumeMounts)"
                    f" || !self.volumeMounts.exists(m, m.mountPath.matches('^{SCRATCH_PATH}/*$'))",
                    "message": RESERVED_PATH,
                },
            ]
        }
    )

    model_name: ModelName
    model: Annotated[ModelArchitecture | None, Field(description="The network of the built-in trainer.")] = (
        None
    )
    data: Annotated[TrainingData | None, Field(description="What the built-in trainer learns from.")] = None
    training: Annotated[TrainingParameters, Field(description="How the network is trained.")] = (
        TrainingParameters()
    )
    validation: Annotated[Validation, Field(description="How rows are held out.")] = Validation()
    export: Annotated[Export, Field(description="In which forms the trained model is kept.")] = Export()
    checkpoint: Annotated[
        Checkpoint | None,
        Field(
            description="Where the training's state is kept; a retry starts from the beginning where absent."
        ),
    ] = None
    promotion: Annotated[Promotion, Field(description="What becomes of the registered version.")] = (
        Promotion()
    )
    serving: Annotated[
        Serving | None,
        Field(description="How the registered version is served; not at all where absent."),
    ] = None
    image: Annotated[
        str | None,
        Field(min_length=1, max_length=500, description="Container image; by default the trainer's."),
    ] = None
    command: Annotated[
        list[Annotated[str, Field(max_length=32768)]] | None,
        Field(
            min_length=1,
            max_length=64,
            description="Program to run; the built-in trainer or the image's own where absent.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    args: Annotated[
        list[Annotated[str, Field(max_length=32768)]] | None,
        Field(
            max_length=256,
            description="Arguments of the program.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    env: Annotated[
        list[EnvVar] | None,
        Field(
            max_length=128,
            description="Environment variables of the training container.",
        ),
        UniqueBy("name"),
    ] = None
    env_from: Annotated[
        list[EnvFromSource] | None,
        Field(
            max_length=32,
            description="Secrets and ConfigMaps whose keys become environment variables.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    volumes: Annotated[
        list[Volume] | None,
        Field(
            max_length=32,
            description="Volumes of the training pod, as in a pod.",
        ),
        UniqueBy("name"),
    ] = None
    volume_mounts: Annotated[
        list[VolumeMount] | None,
        Field(
            max_length=32,
            description="Where the volumes appear in the training container.",
        ),
        UniqueBy("mount_path"),
    ] = None
    num_nodes: Annotated[
        Integer,
        Field(ge=1, le=64, description="How many pods train together, by torchrun's rendezvous."),
    ] = 1
    num_proc_per_node: Annotated[
        ProcessesPerNode,
        Field(
            description="How many processes train in each pod: a number, or auto for one a GPU, "
            "else one a core."
        ),
    ] = 1
    gang_scheduling: Annotated[
        bool,
        Field(
            description="Start all pods together or none, where the API server offers the alpha PodGroup; "
            "the condition GangScheduling tells."
        ),
    ] = False
    resources_per_node: Annotated[
        ResourceRequirements | None, Field(description="Compute resources of each training pod.")
    ] = None
    node_selector: Annotated[
        Labels | None,
        Field(max_length=32, description="Labels a node must have."),
    ] = None
    tolerations: Annotated[
        list[Toleration] | None,
        Field(
            max_length=32,
            description="Taints that the pods tolerate.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    affinity: Annotated[
        FreeFormObject | None,
        Field(description="Where pods may and should run, as in a pod."),
    ] = None
    priority_class_name: Annotated[
        str | None,
        Field(min_length=1, max_length=253, description="PriorityClass of the pods."),
    ] = None
    runtime_class_name: Annotated[
        str | None,
        Field(min_length=1, max_length=253, description="RuntimeClass of the pods."),
    ] = None
    queue: Annotated[
        Queue | None,
        Field(description="Queue of Kueue: pods start once it admits the training; at once where absent."),
    ] = None
    image_pull_secrets: Annotated[
        list[LocalObjectReference] | None,
        Field(max_length=16, description="Secrets that hold the credentials to pull the image."),
        UniqueBy("name"),
    ] = None
    pod_security_context: Annotated[
        FreeFormObject | None,
        Field(
            description="Security context of the pods, as in a pod: its fields go before the defaults, "
            "which are those of restricted Pod Security."
        ),
    ] = None
    security_context: Annotated[
        FreeFormObject | None,
        Field(
            description="Security context of the training container, as in a pod: its fields go before the "
            "defaults, no privilege escalation, no capabilities and a root file system that is read only."
        ),
    ] = None
    service_account_name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=253,
            description="ServiceAccount of the training pod; the namespace's default where absent. "
            "Its token is not mounted: training needs no access to Kubernetes.",
        ),
    ] = None
    suspend: Annotated[
        bool,
        Field(
            description="Stop the pods, which write a checkpoint, and start none until false again; "
            "the time before does not count for activeDeadlineSeconds."
        ),
    ] = False
    ttl_seconds_after_finished: Annotated[
        Integer | None,
        Field(
            ge=0,
            le=2147483647,
            description="Seconds after its end when the TrainingJob is deleted; kept where absent. "
            "Its ModelVersion stays.",
        ),
    ] = None
    backoff_limit: Annotated[
        Integer, Field(ge=0, le=1000, description="Retries before the TrainingJob fails.")
    ] = 2
    active_deadline_seconds: Annotated[
        Integer | None,
        Field(ge=1, le=2147483647, description="Seconds after its start when the training is stopped."),
    ] = None

    @model_validator(mode="after")
    def _something_to_run(self) -> "TrainingJobSpec":
        if (self.model is None) != (self.data is None):
            raise ValueError(MODEL_WITHOUT_DATA)
        if self.model is None and self.command is None and self.image is None:
            raise ValueError(NOTHING_TO_RUN)
        if self.checkpoint is not None and self.model is None:
            raise ValueError(CHECKPOINT_OF_OWN_CODE)
        return self

    @model_validator(mode="after")
    def _weights_have_classes(self) -> "TrainingJobSpec":
        if self.data and self.data.task == "Regression" and self.training.class_weights != "None":
            raise ValueError(WEIGHTS_WITHOUT_CLASSES)
        return self

    @model_validator(mode="after")
    def _gang_has_several_pods(self) -> "TrainingJobSpec":
        if self.gang_scheduling and self.num_nodes == 1:
            raise ValueError(GANG_OF_ONE)
        return self

    @model_validator(mode="after")
    def _mounted_volumes_exist(self) -> "TrainingJobSpec":
        volumes = {volume.name for volume in self.volumes or ()}
        if not volumes.issuperset(mount.name for mount in self.volume_mounts or ()):
            raise ValueError(UNKNOWN_VOLUME)
        return self

    @model_validator(mode="after")
    def _leaves_the_operator_what_it_sets(self) -> "TrainingJobSpec":
        if any(variable.name in CONTRACT_ENVIRONMENT for variable in self.env or ()):
            raise ValueError(RESERVED_ENVIRONMENT)
        if any(volume.name in OWN_VOLUMES for volume in self.volumes or ()):
            raise ValueError(RESERVED_VOLUME)
        if any(mount.mount_path.rstrip("/") == SCRATCH_PATH for mount in self.volume_mounts or ()):
            raise ValueError(RESERVED_PATH)
        return self


def immutability_rule() -> JsonValue:
    """Which part of a spec may change, and when; the message names the first field that may not.

    The API server judges every rule with each write of a status, and each look at a field of a large object
    costs it: a spec that stays as it was is seen by its first comparison.
    """
    clauses, messages = [], []
    for field, info in TrainingJobSpec.model_fields.items():
        if field in ALWAYS_MUTABLE:
            continue
        name = to_camel(field)
        same = f"self.spec.{name} == oldSelf.spec.{name}"
        if not info.is_required() and info.default is None:
            same = f"has(self.spec.{name}) ? has(oldSelf.spec.{name}) && {same} : !has(oldSelf.spec.{name})"
        if field in MUTABLE_WHILE_SUSPENDED:
            clause, message = f"({same}) || {WHILE_SUSPENDED}", f"{name} may change only while suspended"
        else:
            clause, message = same, f"{name} is immutable"
        clauses.append(f"({clause})")
        messages.append(f"!({clause}) ? '{message}: {INSTEAD_OF_A_CHANGE}'")
    return {
        "rule": "self.spec == oldSelf.spec || (\n" + "\n&& ".join(clauses) + "\n)",
        "message": f"a field is changed that is immutable: {INSTEAD_OF_A_CHANGE}",
        "messageExpression": "\n: ".join((*messages, "''")),
        "fieldPath": ".spec",
    }


class TrainingJob(ResourceModel):
    """Trains one model once, registers it in MLflow as a new version and asks for its stage."""

    # At the root, not on the spec: a RetrainingPolicy's template holds the same spec and may change.
    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                immutability_rule(),
                {
                    "rule": f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
                    "message": NAME_TOO_LONG,
                },
            ]
        },
    )

    api_version: Literal["mlinfra.io/v1alpha1"] = API_VERSION
    kind: Literal["TrainingJob"] = "TrainingJob"
    metadata: ObjectMeta
    spec: TrainingJobSpec
    status: TrainingJobStatus = Field(default_factory=TrainingJobStatus)

    @model_validator(mode="after")
    def _name_fits(self) -> "TrainingJob":
        if len(self.metadata.name) > MAX_NAME_LENGTH:
            raise ValueError(NAME_TOO_LONG)
        return self
