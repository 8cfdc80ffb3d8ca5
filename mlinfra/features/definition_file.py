"""Definitions of features in a JSON or YAML file that people write.

    features:
      - name: rsi
        version: "1.0"
        description: Relative strength index, 0 to 100
        dependencies: [raw:close]
        expectations: {minimum: 0, maximum: 100, on_violation: quarantine}

The file holds a list of definitions, such a list under ``features``, or one definition; a file of a feature
store is one, too.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mlinfra.features.errors import InvalidDefinition
from mlinfra.features.metadata import FeatureMetadata
from mlinfra.features.validation import mistakes


def read_definitions(path: Path) -> list[FeatureMetadata]:
    """The definitions in a file, in its order.

    Raises:
        InvalidDefinition: the file cannot be read, or a definition is wrong; the message names both.
    """
    try:
        # JSON is YAML.
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDefinition(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from error
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise InvalidDefinition(f"{path} is neither JSON nor YAML: {told}") from error
    if isinstance(content, dict):
        content = content.get("features", content.get("feature", content))
    definitions = content if isinstance(content, list) else [content]
    if not definitions or not all(isinstance(each, dict) for each in definitions):
        raise InvalidDefinition(
            f"{path} holds no definitions; write a list of mappings with name, version, description, ..."
        )
    return [
        checked_definition(each, where=f"{path}, definition {number} ({each.get('name', 'without a name')})")
        for number, each in enumerate(definitions, start=1)
    ]


def checked_definition(fields: dict[str, Any], *, where: str) -> FeatureMetadata:
    """The definition that some fields make; of several mistakes all are told, in one line.

    Raises:
        InvalidDefinition: a field is unknown or has a wrong value; the message begins with ``where``.
    """
    try:
        return FeatureMetadata.model_validate(fields)
    except ValidationError as error:
        raise InvalidDefinition(f"{where}: {mistakes(error)}") from error
