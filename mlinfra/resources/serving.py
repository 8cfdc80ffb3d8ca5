"""How a version of a model is served: as a Deployment of its own behind the model's Service."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from mlinfra.resources.base import Integer, ResourceModel, UniqueBy
from mlinfra.resources.label import Labels
from mlinfra.resources.pod import (
    EnvFromSource,
    EnvVar,
    FreeFormObject,
    LocalObjectReference,
    ResourceRequirements,
    Toleration,
    Volume,
    VolumeMount,
)

ServedStage = Literal["Production", "Staging"]
MORE_REPLICAS_AT_LEAST = "minReplicas must not be above maxReplicas"
UNKNOWN_SERVING_VOLUME = "every volumeMount of serving needs the volume it names"
GRPC_PORT_ENV = "MLINFRA_SERVING_GRPC_PORT"
GRPC_PORT_GIVEN = f"grpc sets {GRPC_PORT_ENV}: take it out of env"
CANARY_IN_PRODUCTION = "a canary is of Production: it needs Production among the stages"


def _production() -> list[ServedStage]:
    return ["Production"]


class Autoscaling(ResourceModel):
    """How the number of pods follows their load, by a HorizontalPodAutoscaler."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {"rule": "self.minReplicas <= self.maxReplicas", "message": MORE_REPLICAS_AT_LEAST}
            ]
        }
    )

    min_replicas: Annotated[Integer, Field(ge=1, le=1000, description="The fewest pods.")] = 1
    max_replicas: Annotated[Integer, Field(ge=1, le=1000, description="The most pods.")]
    target_cpu_utilization_percentage: Annotated[
        Integer,
        Field(
            alias="targetCPUUtilizationPercentage",
            ge=1,
            le=1000,
            description="Share of the requested CPU that a pod should use; needs resources.requests.cpu.",
        ),
    ] = 70

    @model_validator(mode="after")
    def _bounds_fit(self) -> "Autoscaling":
        if self.min_replicas > self.max_replicas:
            raise ValueError(MORE_REPLICAS_AT_LEAST)
        return self


class Canary(ResourceModel):
    """How a version first takes a share of Production's requests, beside the version before it."""

    percent: Annotated[
        Integer,
        Field(
            ge=1,
            le=99,
            description="Share of the requests, as near as whole pods allow: of the Service's pods so many "
            "are the new version's, one at least and replicas at most.",
        ),
    ]
    seconds: Annotated[
        Integer,
        Field(ge=1, le=31536000, description="For how long; then the version takes all requests."),
    ] = 3600


class CanaryStatus(ResourceModel):
    """A version's share of Production's requests while another one answers beside it."""

    previous: Annotated[str, Field(max_length=18, description="The version that answers beside it.")]
    percent: Annotated[
        Integer, Field(description="Share of the Service's ready pods that are the version's, rounded.")
    ]
    pods: Annotated[Integer, Field(description="Its own pods that are ready.")]
    previous_pods: Annotated[Integer, Field(description="Ready pods of the version beside it.")]
    since: Annotated[
        str | None,
        Field(description="Since when they share.", json_schema_extra={"format": "date-time"}),
    ] = None
    until: Annotated[
        str | None,
        Field(
            description="When the version takes all requests, once all its pods are ready.",
            json_schema_extra={"format": "date-time"},
        ),
    ] = None


class Serving(ResourceModel):
    """How a version is served while it has one of the stages."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes)"
                    " && self.volumes.exists(v, v.name == m.name))",
                    "message": UNKNOWN_SERVING_VOLUME,
                },
                {
                    "rule": "!has(self.canary) || !has(self.stages)"
                    " || self.stages.exists(s, s == 'Production')",
                    "message": CANARY_IN_PRODUCTION,
                },
                {
                    "rule": "!has(self.grpc) || !self.grpc || !has(self.env)"
                    f" || !self.env.exists(v, v.name == '{GRPC_PORT_ENV}')",
                    "message": GRPC_PORT_GIVEN,
                },
            ]
        }
    )

    enabled: Annotated[bool, Field(description="Whether the version is served.")] = True
    stages: Annotated[
        list[ServedStage],
        Field(
            min_length=1,
            max_length=2,
            description="Stages in which it is: each has a Service of its own.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = Field(default_factory=_production)
    replicas: Annotated[
        Integer, Field(ge=1, le=1000, description="How many pods, where autoscaling does not say.")
    ] = 1
    autoscaling: Annotated[
        Autoscaling | None, Field(description="Let the number of pods follow their load.")
    ] = None
    grpc: Annotated[
        bool,
        Field(
            description="Whether the pods answer the protocol over gRPC as well, and the model's Service "
            "leads there, at port 8081."
        ),
    ] = False
    canary: Annotated[
        Canary | None,
        Field(
            description="Take a share of Production's requests for a while before all of them; all at once "
            "where absent, where no version is served before it, and where it has had all of them before."
        ),
    ] = None
    rollback_window_seconds: Annotated[
        Integer,
        Field(
            ge=0,
            le=31536000,
            description="How long the pods stay after another version took over, for a rollback at once.",
        ),
    ] = 3600
    image: Annotated[
        str | None,
        Field(min_length=1, max_length=500, description="Container image; by default the model server's."),
    ] = None
    command: Annotated[
        list[Annotated[str, Field(max_length=32768)]] | None,
        Field(
            min_length=1,
            max_length=64,
            description="Program to run instead of the model server; it has to speak its protocol.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    args: Annotated[
        list[Annotated[str, Field(max_length=32768)]] | None,
        Field(
            max_length=64,
            description="Arguments of the program.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    env: Annotated[
        list[EnvVar] | None,
        Field(
            max_length=64, description="Environment of the server, such as MLINFRA_SERVING_MISSING=default."
        ),
        UniqueBy("name"),
    ] = None
    env_from: Annotated[
        list[EnvFromSource] | None,
        Field(
            max_length=16,
            description="Secrets and ConfigMaps whose keys become environment variables.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    volumes: Annotated[
        list[Volume] | None,
        Field(max_length=16, description="Volumes of the server's pods, as in a pod."),
        UniqueBy("name"),
    ] = None
    volume_mounts: Annotated[
        list[VolumeMount] | None,
        Field(max_length=16, description="Where the volumes appear in the server's container."),
        UniqueBy("mount_path"),
    ] = None
    resources: Annotated[ResourceRequirements | None, Field(description="Compute resources of each pod.")] = (
        None
    )
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
        FreeFormObject | None, Field(description="Where pods may and should run, as in a pod.")
    ] = None
    priority_class_name: Annotated[
        str | None, Field(min_length=1, max_length=253, description="PriorityClass of the pods.")
    ] = None
    image_pull_secrets: Annotated[
        list[LocalObjectReference] | None,
        Field(max_length=16, description="Secrets that hold the credentials to pull the image."),
        UniqueBy("name"),
    ] = None
    service_account_name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=253,
            description="ServiceAccount of the pods; the namespace's default where absent. Its token is "
            "not mounted.",
        ),
    ] = None

    @model_validator(mode="after")
    def _stages_differ(self) -> "Serving":
        if len(set(self.stages)) != len(self.stages):
            raise ValueError("stages must differ")
        return self

    @model_validator(mode="after")
    def _canary_is_in_production(self) -> "Serving":
        if self.canary is not None and "Production" not in self.stages:
            raise ValueError(CANARY_IN_PRODUCTION)
        return self

    @model_validator(mode="after")
    def _one_grpc_port(self) -> "Serving":
        if self.grpc and any(variable.name == GRPC_PORT_ENV for variable in self.env or ()):
            raise ValueError(GRPC_PORT_GIVEN)
        return self

    @model_validator(mode="after")
    def _mounted_volumes_exist(self) -> "Serving":
        volumes = {volume.name for volume in self.volumes or ()}
        if not volumes.issuperset(mount.name for mount in self.volume_mounts or ()):
            raise ValueError(UNKNOWN_SERVING_VOLUME)
        return self
