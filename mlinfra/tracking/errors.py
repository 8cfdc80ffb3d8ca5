"""What can go wrong between a training and MLflow."""

from mlinfra.errors import MlinfraError


class TrackingUnavailableError(MlinfraError):
    """The MLflow server does not answer."""


class TrackingRefusedError(MlinfraError):
    """The MLflow server answers, and refuses what it was asked."""


class NoActiveRunError(MlinfraError):
    """The call needs a run, and none was started."""


class UnusableModelError(MlinfraError):
    """A model in MLflow cannot be read: not ONNX, too large, damaged or changed."""
