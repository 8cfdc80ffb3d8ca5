"""What the operator is told by its environment."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlinfra.errors import InvalidInputError

TRACKING_URI_ENV = "MLFLOW_TRACKING_URI"
FEATURE_STORE_URI_ENV = "MLINFRA_FEATURE_STORE_URI"
TRAINER_IMAGE_ENV = "MLINFRA_TRAINER_IMAGE"
WATCH_NAMESPACE_ENV = "MLINFRA_WATCH_NAMESPACE"
METRICS_ADDRESS_ENV = "MLINFRA_METRICS_ADDRESS"
LEADER_ELECTION_ENV = "MLINFRA_LEADER_ELECTION"
POD_NAME_ENV = "POD_NAME"
POD_NAMESPACE_ENV = "POD_NAMESPACE"
LIVENESS_ENDPOINT_ENV = "MLINFRA_LIVENESS_ENDPOINT"
MAX_PORT = 65536
LEASE_NAME = "mlinfra-operator"
DEFAULT_TRAINER_IMAGE = "mlinfra-trainer:0.1.0"


class SettingsError(InvalidInputError):
    """The environment lacks what the operator needs."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one operator process.

    Attributes:
        watch_namespace: the only namespace to look at; all of them where absent.
        liveness_endpoint: URL to answer liveness probes at; none where absent.
        metrics_address: ``host:port`` where Prometheus may scrape; nowhere where absent.
        leader_election: whether one of several replicas works at a time; off only where there is just one.
        identity: who we are among the replicas: the pod's name; a name of this process where absent.
        lease_namespace: where the lease is kept; the namespace that the operator logs in to where absent.
    """

    tracking_uri: str
    trainer_image: str = DEFAULT_TRAINER_IMAGE
    feature_store_uri: str | None = None
    watch_namespace: str | None = None
    liveness_endpoint: str | None = None
    metrics_address: str | None = None
    leader_election: bool = True
    identity: str | None = None
    lease_namespace: str | None = None

    @property
    def lease_name(self) -> str:
        """Of operators with different scopes, each works."""
        return LEASE_NAME if self.watch_namespace is None else f"{LEASE_NAME}-{self.watch_namespace}"

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Settings":
        """From environment variables.

        Raises:
            SettingsError: MLFLOW_TRACKING_URI is absent or no HTTP address, or a switch is not on or off.
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
            metrics_address=_address(environ.get(METRICS_ADDRESS_ENV) or None),
            leader_election=_switch(environ.get(LEADER_ELECTION_ENV) or "true", LEADER_ELECTION_ENV),
            identity=environ.get(POD_NAME_ENV) or None,
            lease_namespace=environ.get(POD_NAMESPACE_ENV) or None,
        )


def _address(text: str | None) -> str | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < MAX_PORT:
        raise SettingsError(f"{METRICS_ADDRESS_ENV} is {text!r}: write host:port, such as 127.0.0.1:8081")
    return text


def _switch(text: str, name: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise SettingsError(f"{name} is {text!r}: set it to true or false")
    return text.lower() == "true"
