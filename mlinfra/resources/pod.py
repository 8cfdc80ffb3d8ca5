"""The parts of a pod that a TrainingJob passes on: environment, volumes, resources.

Environment and resources have a full schema. Volumes and tolerations keep Kubernetes' own
(large) schema out of the CRD: the API server checks them when the pod template is created, and a
refusal becomes the condition ``Failed`` with reason ``JobRejected``.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from mlinfra.resources.base import Integer, ResourceModel, WithoutNulls

QUANTITY_PATTERN = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
MAX_EXACT_INTEGER = 2**53
"""Beyond it a JSON number may lose digits; such a quantity is written as a string."""
ONE_ENV_SOURCE = "exactly one of fieldRef, secretKeyRef and configMapKeyRef is required"
VALUE_OR_SOURCE = "value and valueFrom exclude each other"
ONE_ENV_FROM_SOURCE = "exactly one of secretRef and configMapRef is required"

Quantity = Annotated[
    Annotated[Integer, Field(ge=0, le=MAX_EXACT_INTEGER)]
    | Annotated[str, Field(max_length=64, pattern=QUANTITY_PATTERN)],
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "minimum": 0,
            "maximum": MAX_EXACT_INTEGER,
            "maxLength": 64,
            "pattern": QUANTITY_PATTERN,
        }
    ),
]
"""A Kubernetes quantity that is not negative: ``500m``, ``2Gi``, ``1``."""


MAX_PROCESSES = 64
ProcessesPerNode = Annotated[
    Annotated[Integer, Field(ge=1, le=MAX_PROCESSES)] | Literal["auto"],
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "minimum": 1,
            "maximum": MAX_PROCESSES,
            "pattern": "^auto$",
        }
    ),
]
"""How many processes one pod starts, as torchrun's ``--nproc-per-node`` takes it."""


def _require_json(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """Raises ValueError for what JSON cannot hold, such as NaN."""
    json.dumps(value, allow_nan=False)
    return value


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
                    "message": ONE_ENV_SOURCE,
                }
            ]
        }
    )

    field_ref: Annotated[FieldSelector | None, Field(description="A field of the pod.")] = None
    secret_key_ref: Annotated[KeySelector | None, Field(description="A key of a Secret.")] = None
    config_map_key_ref: Annotated[KeySelector | None, Field(description="A key of a ConfigMap.")] = None

    @model_validator(mode="after")
    def _one_source(self) -> "EnvVarSource":
        if (self.field_ref, self.secret_key_ref, self.config_map_key_ref).count(None) != 2:
            raise ValueError(ONE_ENV_SOURCE)
        return self


class EnvVar(ResourceModel):
    """One environment variable of the training container."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {"rule": "!has(self.value) || !has(self.valueFrom)", "message": VALUE_OR_SOURCE}
            ]
        }
    )

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

    @model_validator(mode="after")
    def _value_or_source(self) -> "EnvVar":
        if self.value is not None and self.value_from is not None:
            raise ValueError(VALUE_OR_SOURCE)
        return self


class EnvFromReference(ResourceModel):
    """A Secret or ConfigMap by name."""

    name: Annotated[str, Field(min_length=1, max_length=253, description="Name of the object.")]
    optional: Annotated[bool | None, Field(description="Whether the object may be absent.")] = None


class EnvFromSource(ResourceModel):
    """A whole Secret or ConfigMap as environment variables."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {"rule": "has(self.secretRef) != has(self.configMapRef)", "message": ONE_ENV_FROM_SOURCE}
            ]
        }
    )

    prefix: Annotated[str | None, Field(max_length=256, description="Put before each name.")] = None
    secret_ref: Annotated[EnvFromReference | None, Field(description="The Secret to read.")] = None
    config_map_ref: Annotated[EnvFromReference | None, Field(description="The ConfigMap to read.")] = None

    @model_validator(mode="after")
    def _one_source(self) -> "EnvFromSource":
        if (self.secret_ref is None) == (self.config_map_ref is None):
            raise ValueError(ONE_ENV_FROM_SOURCE)
        return self


class LocalObjectReference(ResourceModel):
    """An object in the TrainingJob's namespace, by name."""

    name: Annotated[str, Field(min_length=1, max_length=253, description="Name of the object.")]


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

    name: Annotated[
        str,
        Field(max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", description="Name of the volume."),
    ]

    @model_validator(mode="after")
    def _source_is_json(self) -> "Volume":
        _require_json(self.model_extra)
        return self


class Toleration(ResourceModel):
    """A taint that the pods tolerate."""

    key: Annotated[str | None, Field(max_length=317, description="Key of the taint; empty is any.")] = None
    operator: Annotated[
        Literal["Exists", "Equal"] | None, Field(description="How value is compared; Equal where absent.")
    ] = None
    value: Annotated[str | None, Field(max_length=63, description="Value of the taint.")] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        Field(description="Effect of the taint; all of them where absent."),
    ] = None
    toleration_seconds: Annotated[
        Integer | None, Field(ge=0, le=2147483647, description="How long a NoExecute taint is tolerated.")
    ] = None


class ResourceRequirements(ResourceModel):
    """Compute resources of each training pod."""

    limits: Annotated[
        Annotated[dict[str, Quantity], WithoutNulls] | None,
        Field(max_length=16, description='The most a pod may use, such as nvidia.com/gpu: "1".'),
    ] = None
    requests: Annotated[
        Annotated[dict[str, Quantity], WithoutNulls] | None,
        Field(max_length=16, description="What the scheduler reserves; the limits where absent."),
    ] = None


FreeFormObject = Annotated[
    dict[str, Any],
    Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}),
    AfterValidator(_require_json),
]
