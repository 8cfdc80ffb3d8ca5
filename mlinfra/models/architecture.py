"""What an architecture is: a name, a typed configuration, and how a network is built from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from mlinfra.errors import suggestion
from mlinfra.models.errors import InvalidParameterError
from mlinfra.resources.base import ResourceModel

if TYPE_CHECKING:
    from torch import nn


class ArchitectureConfig(ResourceModel):
    """Base of every architecture's parameters: camelCase on the wire, unknown ones refused."""


Config = TypeVar("Config", bound=ArchitectureConfig)


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """What a network reads, (batch, window, features), and how many logits it gives, (batch, outputs)."""

    window: int
    features: int
    outputs: int


@dataclass(frozen=True, slots=True)
class Architecture(Generic[Config]):
    """A kind of network.

    Args:
        name: as written in ``spec.model.architecture``.
        config: class of its parameters.
        build: makes the network; it reads normalised features of shape (batch, window, features) and
            gives logits of shape (batch, outputs).
    """

    name: str
    config: type[Config]
    build: Callable[[Config, NetworkShape], "nn.Module"]

    def configure(self, parameters: Mapping[str, Any]) -> Config:
        """The configuration that ``parameters`` and the defaults amount to.

        Raises:
            InvalidParameterError: a parameter is unknown or its value is out of bounds.
        """
        known = [to_camel(field) for field in self.config.model_fields]
        for parameter in parameters:
            if to_camel(parameter) not in known:
                raise InvalidParameterError(
                    f'Architecture "{self.name}" has no parameter "{parameter}"; '
                    f"{suggestion(parameter, known)}."
                )
        try:
            return self.config.model_validate(dict(parameters))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "its parameters"
            raise InvalidParameterError(
                f'Architecture "{self.name}" refuses {where}: {first["msg"]}, got {first["input"]!r}.'
            ) from error

    def network(self, config: ArchitectureConfig, shape: NetworkShape) -> "nn.Module":
        """A new network with random weights, as `configure` and ``shape`` describe it."""
        if not isinstance(config, self.config):
            raise TypeError(f"{self.name} wants {self.config.__name__}, not {type(config).__name__}")
        return self.build(config, shape)
