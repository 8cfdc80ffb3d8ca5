"""What can go wrong between a training and MLflow."""

from mlinfra.errors import InvalidInputError, MlinfraError


class TrackingUnavailableError(MlinfraError):
    """The MLflow server does not answer."""


class TrackingRefusedError(MlinfraError):
    """The MLflow server answers, and refuses what it was asked."""


class NoActiveRunError(MlinfraError):
    """The call needs a run, and none was started."""


class UnusableModelError(MlinfraError):
    """A model in MLflow cannot be read: not ONNX, too large, damaged or changed."""


class InvalidTrackingValueError(InvalidInputError):
    """A name or a value that MLflow does not take."""

    reason = "InvalidTrackingValue"


class UnsupportedModelError(InvalidInputError):
    """A model that could only be kept as a pickle."""

    reason = "UnsupportedModel"


class UnknownRunError(InvalidInputError):
    """There is no such run, experiment, model, metric or parameter in MLflow."""

    reason = "UnknownRun"
