"""What the operator is told by its environment."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlinfra.errors import InvalidInputError

TRACKING_URI_ENV = "MLFLOW_TRACKING_URI"
FEATURE_STORE_URI_ENV = "MLINFRA_FEATURE_STORE_URI"
TRAINER_IMAGE_ENV = "MLINFRA_TRAINER_IMAGE"
WATCH_NAMESPACE_ENV = "MLINFRA_WATCH_NAMESPACE"
LIVENESS_ENDPOINT_ENV = "MLINFRA_LIVENESS_ENDPOINT"
DEFAULT_TRAINER_IMAGE = "mlinfra-trainer:0.1.0"


class SettingsError(InvalidInputError):
    """The environment lacks what the operator needs."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one operator process.

    Attributes:
        watch_namespace: the only namespace to look at; all of them where absent.
        liveness_endpoint: URL to answer liveness probes at; none where absent.
    """

    tracking_uri: str
    trainer_image: str = DEFAULT_TRAINER_IMAGE
    feature_store_uri: str | None = None
    watch_namespace: str | None = None
    liveness_endpoint: str | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Settings":
        """From environment variables.

        Raises:
            SettingsError: MLFLOW_TRACKING_URI is absent or no HTTP address.
        """
        tracking_uri = environ.get(TRACKING_URI_ENV, "")
        if not tracking_uri.startswith(("http://", "https://")):
            raise SettingsError(
                f"{TRACKING_URI_ENV} is {tracking_uri!r}: set it to the http:// or https:// address of the "
                "MLflow server that training pods reach as well"
            )
        return cls(
            tracking_uri=tracking_uri.rstrip("/"),
            trainer_image=environ.get(TRAINER_IMAGE_ENV) or DEFAULT_TRAINER_IMAGE,
            feature_store_uri=environ.get(FEATURE_STORE_URI_ENV) or None,
            watch_namespace=environ.get(WATCH_NAMESPACE_ENV) or None,
            liveness_endpoint=environ.get(LIVENESS_ENDPOINT_ENV) or None,
        )
