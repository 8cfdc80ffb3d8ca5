"""The parts of a pod that a TrainingJob passes on: environment, volumes, resources.

Environment and resources have a full schema. Volumes and tolerations keep Kubernetes' own
(large) schema out of the CRD: the API server checks them when the pod template is created, and a
refusal becomes the condition ``Failed`` with reason ``JobRejected``.
"""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from mlinfra.resources.base import Integer, ResourceModel

Quantity = Annotated[
    str,
    Field(
        max_length=64,
        pattern=r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
        description="A Kubernetes quantity as a string: 500m, 2Gi.",
    ),
]


class KeySelector(ResourceModel):
    """One key of a Secret or ConfigMap in the TrainingJob's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253, description="Name of the object.")]
    key: Annotated[str, Field(min_length=1, max_length=253, description="The key to read.")]
    optional: Annotated[bool | None, Field(description="Whether the object or its key may be absent.")] = None


class FieldSelector(ResourceModel):
    """A field of the pod itself."""

    field_path: Annotated[
        str, Field(min_length=1, max_length=253, description="Such as metadata.name or status.podIP.")
    ]
    api_version: Annotated[
        str | None, Field(max_length=64, description="Version of the field path's schema, v1 by default.")
    ] = None


class EnvVarSource(ResourceModel):
    """Where the value of an environment variable comes from: exactly one of its fields."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "(has(self.fieldRef)?1:0)+(has(self.secretKeyRef)?1:0)"
                    "+(has(self.configMapKeyRef)?1:0)==1",
                    "message": "exactly one of fieldRef, secretKeyRef and configMapKeyRef is required",
                }
            ]
        }
    )

    field_ref: Annotated[FieldSelector | None, Field(description="A field of the pod.")] = None
    secret_key_ref: Annotated[KeySelector | None, Field(description="A key of a Secret.")] = None
    config_map_key_ref: Annotated[KeySelector | None, Field(description="A key of a ConfigMap.")] = None


class EnvVar(ResourceModel):
    """One environment variable of the training container."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=256, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$", description="Its name."),
    ]
    value: Annotated[
        str | None,
        Field(max_length=32768, description="Its value; $(NAME) expands variables named before it."),
    ] = None
    value_from: Annotated[
        EnvVarSource | None, Field(description="Source of the value; not together with value.")
    ] = None


class EnvFromReference(ResourceModel):
    """A Secret or ConfigMap by name."""

    name: Annotated[str, Field(min_length=1, max_length=253, description="Name of the object.")]
    optional: Annotated[bool | None, Field(description="Whether the object may be absent.")] = None


class EnvFromSource(ResourceModel):
    """A whole Secret or ConfigMap as environment variables."""

    prefix: Annotated[str | None, Field(max_length=256, description="Put before each name.")] = None
    secret_ref: Annotated[EnvFromReference | None, Field(description="The Secret to read.")] = None
    config_map_ref: Annotated[EnvFromReference | None, Field(description="The ConfigMap to read.")] = None


class VolumeMount(ResourceModel):
    """Where a volume appears in the training container."""

    name: Annotated[str, Field(min_length=1, max_length=63, description="Name of the volume.")]
    mount_path: Annotated[
        str,
        Field(min_length=1, max_length=1024, pattern=r"^/[^:]*$", description="Path in the container."),
    ]
    sub_path: Annotated[
        str | None, Field(max_length=1024, description="Path in the volume to mount instead of its root.")
    ] = None
    read_only: Annotated[bool | None, Field(description="Whether writing is refused.")] = None


class Volume(ResourceModel):
    """A Kubernetes volume; its source is passed to the pod as it is."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

    name: Annotated[str, Field(min_length=1, max_length=63, description="Name of the volume.")]


class Toleration(ResourceModel):
    """A taint that the pods tolerate."""

    key: Annotated[str | None, Field(max_length=317, description="Key of the taint; empty is any.")] = None
    operator: Annotated[
        str | None, Field(pattern="^(Exists|Equal)$", description="Exists or Equal (the default).")
    ] = None
    value: Annotated[str | None, Field(max_length=63, description="Value of the taint.")] = None
    effect: Annotated[
        str | None,
        Field(
            pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$",
            description="Effect of the taint; absent is all of them.",
        ),
    ] = None
    toleration_seconds: Annotated[
        Integer | None, Field(description="How long a NoExecute taint is tolerated.")
    ] = None


class ResourceRequirements(ResourceModel):
    """Compute resources of each training pod."""

    limits: Annotated[
        dict[str, Quantity] | None,
        Field(max_length=16, description='The most a pod may use, such as nvidia.com/gpu: "1".'),
    ] = None
    requests: Annotated[
        dict[str, Quantity] | None,
        Field(max_length=16, description="What the scheduler reserves; the limits where absent."),
    ] = None


FreeFormObject = Annotated[
    dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
]
