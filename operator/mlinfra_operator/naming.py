"""Names that derive from the names of registered models. Pure."""

import hashlib
import re

from mlinfra.resources.serving import ServedStage

MAX_SLUG_LENGTH = 63
"""A slug is also the value of a label."""
HASH_LENGTH = 5


def slug(model_name: str) -> str:
    """The model's name as Kubernetes allows names; an altered one ends in a hash, so that none collide."""
    text = re.sub(r"[^a-z0-9]+", "-", model_name.lower()).strip("-")
    if text == model_name and len(text) <= MAX_SLUG_LENGTH:
        return text
    digest = hashlib.sha256(model_name.encode()).hexdigest()[:HASH_LENGTH]
    head = text[: MAX_SLUG_LENGTH - HASH_LENGTH - 1].strip("-")
    return f"{head}-{digest}" if head else digest


def model_version_name(model_name: str, version: str) -> str:
    """The name of the ModelVersion of one version."""
    return f"{slug(model_name)}-{version}"


def service_name(model_name: str, stage: ServedStage) -> str:
    """The name of the model's Service in a stage: it begins with a letter and is short enough for DNS."""
    name, suffix = slug(model_name), "" if stage == "Production" else f"-{stage.lower()}"
    if name[0].isalpha() and len(name) + len(suffix) <= MAX_SLUG_LENGTH:
        return name + suffix
    digest = hashlib.sha256(model_name.encode()).hexdigest()[:HASH_LENGTH]
    room = MAX_SLUG_LENGTH - len(suffix) - HASH_LENGTH - 1
    head = (name if name[0].isalpha() else f"m-{name}")[:room].strip("-")
    return f"{head}-{digest}{suffix}"
