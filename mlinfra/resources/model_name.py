"""Names of registered models: what MLflow, its URIs and its filters can hold."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

FORBIDDEN_IN_MODEL_NAMES = "/:?'\"\\"
"""MLflow refuses slash and colon; a question mark breaks its URIs, quotes and backslash its filters."""
MODEL_NAME_PATTERN = (
    r"""^[^/:?'"\\\pZ\p{Cc}.]([^/:?'"\\\p{Cc}]*[^/:?'"\\\pZ\p{Cc}])?$"""  # as `_model_name` below
)
MODEL_NAME_RULE = (
    "a model name has none of / : ? ' \" \\ and no control characters, "
    "and starts with no dot and neither starts nor ends with a space"
)


def _model_name(name: str) -> str:
    refused = any(character in FORBIDDEN_IN_MODEL_NAMES for character in name)
    control = any(unicodedata.category(character) == "Cc" for character in name)
    if refused or control or name.startswith(".") or name != name.strip():
        raise ValueError(MODEL_NAME_RULE)
    return name


ModelName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="Name of the registered model in MLflow; without slash, colon, question mark and quotes.",
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": f"self.matches(r'''{MODEL_NAME_PATTERN}''')",
                    "message": MODEL_NAME_RULE,
                }
            ]
        },
    ),
    AfterValidator(_model_name),
]
