"""What can be wrong with a request, each with its HTTP status, and with what the server is to serve."""

from typing import ClassVar

from mlinfra.errors import InvalidInputError, MlinfraError


class InvalidSettingError(InvalidInputError):
    """An environment variable or option of the server has a value that cannot be."""

    reason: ClassVar[str] = "InvalidSetting"


class RequestError(MlinfraError):
    """A request that is answered with an error.

    Attributes:
        status: the HTTP status.
        reason: the cause for machines, in CamelCase.
        retry_after: seconds after which it may be tried again, where that helps.
    """

    status: ClassVar[int] = 400
    reason: ClassVar[str] = "InvalidRequest"
    retry_after: ClassVar[int | None] = None


class InvalidRequestError(RequestError):
    """The body is not what the protocol or the model's schema asks for."""


class UnauthorizedError(RequestError):
    """The bearer token is missing or wrong."""

    status = 401
    reason = "Unauthorized"


class ForbiddenError(RequestError):
    """An administrative call from another machine, and no token is set."""

    status = 403
    reason = "Forbidden"


class UnknownModelError(RequestError):
    """The server does not serve this model, or not in this version."""

    status = 404
    reason = "UnknownModel"


class UnsupportedError(RequestError):
    """The served model, or the server as it was started, has no such call."""

    status = 404
    reason = "Unsupported"


class HeadTooLargeError(RequestError):
    """The URL and the headers are larger than the server reads."""

    status = 431
    reason = "HeadTooLarge"


class SlowRequestError(RequestError):
    """The head or the body did not arrive in time."""

    status = 408
    reason = "RequestTimeout"


class OtherSchemaError(RequestError):
    """A model to swap in reads or answers other tensors than the one that is served."""

    status = 409
    reason = "OtherSchema"


class BodyTooLargeError(RequestError):
    """The body is larger than the server reads."""

    status = 413
    reason = "BodyTooLarge"


class UnsupportedEncodingError(RequestError):
    """The body is compressed."""

    status = 415
    reason = "UnsupportedEncoding"


class UnusableValueError(RequestError):
    """The body is well formed, and a value in it is none that the model can read."""

    status = 422
    reason = "UnusableValue"


class UnknownEntityError(RequestError):
    """Nothing is known of an entity."""

    status = 422
    reason = "UnknownEntity"


class MissingFeaturesError(RequestError):
    """Features of an entity are missing or too old, and the policy rejects that."""

    status = 422
    reason = "MissingFeatures"


class UnusableSwapError(RequestError):
    """The model to swap in cannot be served."""

    status = 422
    reason = "UnusableModel"


class QueueFullError(RequestError):
    """As many requests wait as may wait."""

    status = 429
    reason = "QueueFull"
    retry_after = 1


class BodiesFullError(QueueFullError):
    """As many bytes of bodies wait to be whole as may wait."""

    reason = "BodiesFull"


class ModelFailedError(RequestError):
    """The model's graph failed, or answered with what is no number."""

    status = 500
    reason = "ModelFailed"


class NotReadyError(RequestError):
    """No model is loaded yet, or the server is about to end."""

    status = 503
    reason = "NotReady"
    retry_after = 1


class StoreUnavailableError(RequestError):
    """The feature store does not answer."""

    status = 503
    reason = "FeatureStoreUnavailable"
    retry_after = 1
