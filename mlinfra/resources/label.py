"""Names and values of labels and annotations, as the API server takes them."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from mlinfra.resources.base import WithoutNulls

LABEL_VALUE_PATTERN = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
QUALIFIED_NAME = rf"({DNS_LABEL}(\.{DNS_LABEL})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?"
MAX_DOMAIN_LENGTH = 253
QUALIFIED_NAME_RULE = (
    "a name here has up to 63 letters, digits, dashes, underscores and dots, begins and ends with a letter "
    "or digit, and may have a domain and a slash before it, such as team.example.com/owner"
)


def _is_qualified(name: str) -> bool:
    domain = name.rpartition("/")[0]
    return len(domain) <= MAX_DOMAIN_LENGTH and re.fullmatch(QUALIFIED_NAME, name) is not None


def _label_names(labels: dict[str, str]) -> dict[str, str]:
    for name in labels:
        if not _is_qualified(name):
            raise ValueError(f"{name!r}: {QUALIFIED_NAME_RULE}")
    return labels


def _annotation_names(annotations: dict[str, str]) -> dict[str, str]:
    # Of an annotation's name case does not matter, in its domain either; it has no letters but ASCII's.
    _label_names({name.lower() if name.isascii() else name: "" for name in annotations})
    return annotations


def _names_rule(name: str) -> Any:
    fits = f"name.indexOf('/') <= {MAX_DOMAIN_LENGTH} && {name}.matches(r'''^{QUALIFIED_NAME}$''')"
    rule: Any = {"rule": f"self.all(name, {fits})", "message": QUALIFIED_NAME_RULE}
    return Field(json_schema_extra={"x-kubernetes-validations": [rule]})


LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE_PATTERN)]
Labels = Annotated[dict[str, LabelValue], AfterValidator(_label_names), WithoutNulls, _names_rule("name")]
Annotations = Annotated[
    dict[str, str], AfterValidator(_annotation_names), WithoutNulls, _names_rule("name.lowerAscii()")
]
