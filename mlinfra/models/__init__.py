"""Network architectures behind one registry, each with a typed configuration.

An architecture of another package joins through the entry point group ``mlinfra.architectures``:
its value is an `mlinfra.models.architecture.Architecture`.
"""

from mlinfra.models.registry import architecture_names, find_architecture

__all__ = ["architecture_names", "find_architecture"]
