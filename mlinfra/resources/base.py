"""What all three resources share: the strict base model, metadata, conditions, references.

Strictness follows the API server (tried on 1.36): it accepts ``null`` for an absent optional
field and ``5.0`` for an integer, and refuses ``"5"`` for a number, unknown fields, and a
number for a string.
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

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


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None}
    return value


WithoutNulls = BeforeValidator(_without_nulls)
"""Of a map's values: the API server drops those that are null."""


@dataclass(frozen=True, slots=True)
class UniqueBy:
    """Annotates a list whose items differ in one field: the API server's list-map, checked here too.

    Attributes:
        field: name of the field in Python; the CRD has it in camelCase.
    """

    field: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": [to_camel(self.field)],
        }

    def _check(self, items: list[BaseModel] | None) -> list[BaseModel] | None:
        seen = set()
        for item in items or ():
            value = getattr(item, self.field)
            if value in seen:
                raise ValueError(f"duplicate {to_camel(self.field)} {value!r}")
            seen.add(value)
        return items


@cache
def _wire_names(model: type[BaseModel]) -> frozenset[str]:
    fields = model.model_fields
    return frozenset(fields) | {field.alias for field in fields.values() if field.alias}


class ResourceModel(BaseModel):
    """Base of every model here: camelCase on the wire, unknown fields refused, no coercion."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        frozen=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = _wire_names(cls)
            return {key: value for key, value in data.items() if value is not None or key not in known}
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
    resource_version: str | None = None
    deletion_timestamp: str | None = None
    finalizers: list[str] = Field(default_factory=list)
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
    ),
    UniqueBy("type"),
]
