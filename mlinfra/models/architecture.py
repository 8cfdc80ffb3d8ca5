"""What an architecture is: a name, a typed configuration, and how a network is built from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from mlinfra.errors import suggestion
from mlinfra.models.errors import InvalidNetworkError, InvalidParameterError
from mlinfra.resources.base import ResourceModel

if TYPE_CHECKING:
    from torch import nn


class ArchitectureConfig(ResourceModel):
    """Base of every architecture's parameters: camelCase on the wire, unknown ones refused."""


Config = TypeVar("Config", bound=ArchitectureConfig)


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """What a network reads, (batch, window, features), and how many numbers it gives, (batch, outputs)."""

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
            gives (batch, outputs): a logit a class, or one normalised value. It must not look at other
            samples of the batch (no BatchNorm): a prediction would depend on what it is asked with.
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
        """A new network with random weights, as `configure` and ``shape`` describe it.

        Raises:
            InvalidNetworkError: it does not give (batch, outputs), or its batch cannot be of any size.
        """
        if not isinstance(config, self.config):
            raise TypeError(f"{self.name} wants {self.config.__name__}, not {type(config).__name__}")
        network = self.build(config, shape)
        self._try(network, shape)
        return network

    def _try(self, network: "nn.Module", shape: NetworkShape) -> None:
        import torch

        training = network.training
        network.eval()
        for batch in (1, 3):
            with torch.no_grad():
                try:
                    outputs = network(torch.zeros(batch, shape.window, shape.features))
                except RuntimeError as error:
                    raise InvalidNetworkError(
                        f'The network of architecture "{self.name}" fails on {batch} samples of '
                        f"{shape.window} rows and {shape.features} features: {error}."
                    ) from error
            if tuple(outputs.shape) != (batch, shape.outputs):
                raise InvalidNetworkError(
                    f'The network of architecture "{self.name}" gives {tuple(outputs.shape)} for {batch} '
                    f"samples; it must give {(batch, shape.outputs)}."
                )
        network.train(training)
