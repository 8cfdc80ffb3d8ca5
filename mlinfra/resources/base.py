"""What all three resources share: the strict base model, metadata, conditions, references.

Strictness follows the API server (tried on 1.36): it accepts ``null`` for an absent optional
field and ``5.0`` for an integer, and refuses ``"5"`` for a number, unknown fields, and a
number for a string.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

GROUP = "mlinfra.io"
VERSION = "v1alpha1"
API_VERSION: Literal["mlinfra.io/v1alpha1"] = "mlinfra.io/v1alpha1"
CATEGORY = "mlinfra"


def _integral_float_to_int(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


Integer = Annotated[int, BeforeValidator(_integral_float_to_int)]
"""An integer as the API server reads it: ``5`` and ``5.0``, never ``"5"`` or ``5.5``."""


class ResourceModel(BaseModel):
    """Base of every model here: camelCase on the wire, unknown fields refused, no coercion."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        strict=True,
        frozen=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data

    def to_wire(self) -> dict[str, Any]:
        """The object as JSON-ready camelCase, without absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ObjectMeta(BaseModel):
    """The part of ``metadata`` this project reads; the API server owns its schema."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="allow", frozen=True)

    name: str = ""
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Condition(ResourceModel):
    """A ``metav1.Condition``."""

    type: Annotated[str, Field(max_length=316, description="Type of the condition, in CamelCase.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="One of True, False, Unknown.")]
    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            description="Machine-readable cause of the last transition, in CamelCase.",
        ),
    ]
    message: Annotated[
        str, Field(max_length=32768, description="What a person should know about the transition.")
    ] = ""
    last_transition_time: Annotated[
        str,
        Field(
            description="When the status of the condition last changed.",
            json_schema_extra={"format": "date-time"},
        ),
    ]
    observed_generation: Annotated[
        Integer | None,
        Field(ge=0, description="The metadata.generation this condition was set for."),
    ] = None


ConditionList = Annotated[
    list[Condition],
    Field(
        max_length=16,
        description="The latest observations of the resource's state.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    ),
]
