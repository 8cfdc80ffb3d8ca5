"""What a training is told: model, data, training parameters, validation; the same as a TrainingJob's spec."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from mlinfra.errors import InvalidInputError
from mlinfra.resources.base import ResourceModel
from mlinfra.resources.built_in_training import (
    EarlyStopping,
    Export,
    ModelArchitecture,
    TrainingData,
    TrainingParameters,
    Validation,
)
from mlinfra.resources.training_job import TrainingJobSpec

Config = TypeVar("Config", bound=ResourceModel)

DEFAULT_ARCHITECTURE = "hybrid_cnn_lstm"


class NothingToTrainError(InvalidInputError):
    """The spec names no model and data for the built-in trainer."""

    reason = "NothingToTrain"


class InvalidConfigError(InvalidInputError):
    """A value of the configuration is out of bounds."""

    reason = "InvalidConfig"


class ModelConfig(ModelArchitecture):
    """The network: ``architecture`` and its ``parameters``."""

    architecture: str = DEFAULT_ARCHITECTURE


class TrainerConfig(TrainingParameters):
    """How the network is trained; stops early where the validation loss no longer falls."""

    early_stopping: EarlyStopping | None = EarlyStopping(patience=10)


class DataConfig(TrainingData):
    """What to learn from: feature group, label, features, dates, ``window_length``."""


class ValidationConfig(Validation):
    """How rows are held out: fractions and ``embargo``."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """All that decides the outcome of a training, besides the rows."""

    data: TrainingData
    model: ModelArchitecture = field(default_factory=ModelConfig)
    training: TrainingParameters = field(default_factory=TrainerConfig)
    validation: Validation = field(default_factory=Validation)
    export: Export = field(default_factory=Export)

    @classmethod
    def from_spec(cls, spec: TrainingJobSpec) -> "TrainingConfig":
        """The part of a TrainingJob's spec that the built-in trainer reads.

        Raises:
            NothingToTrainError: model and data are absent.
        """
        if spec.model is None or spec.data is None:
            raise NothingToTrainError(
                "The TrainingJob names no model and data, and no command that would do without: "
                "give spec.model and spec.data, or spec.command with your own code."
            )
        return cls(
            data=spec.data,
            model=spec.model,
            training=spec.training,
            validation=spec.validation,
            export=spec.export,
        )

    def to_wire(self) -> dict[str, Any]:
        """The configuration as JSON-ready camelCase, as in a TrainingJob's spec."""
        return {
            "model": self.model.to_wire(),
            "data": self.data.to_wire(),
            "training": self.training.to_wire(),
            "validation": self.validation.to_wire(),
            "export": self.export.to_wire(),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "TrainingConfig":
        """The configuration that `to_wire` gave."""
        return cls(
            data=TrainingData.model_validate(wire["data"]),
            model=ModelArchitecture.model_validate(wire["model"]),
            training=TrainingParameters.model_validate(wire["training"]),
            validation=Validation.model_validate(wire["validation"]),
            export=Export.model_validate(wire["export"]),
        )


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """A configuration with some fields changed, and checked as a whole.

    Raises:
        InvalidConfigError: a value is out of bounds.
    """
    return checked(type(config), config.model_dump() | dict(changes))


def checked(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """A configuration from its values.

    Raises:
        InvalidConfigError: a value is out of bounds.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        got = f", got {first['input']!r}" if where else ""
        raise InvalidConfigError(f"{where or kind.__name__}: {first['msg']}{got}.") from error
