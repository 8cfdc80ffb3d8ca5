"""What the operator is told by its environment."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from mlinfra.errors import InvalidInputError
from mlinfra.kube.client import WATCH_SILENCE_SECONDS
from mlinfra.resources.names import (
    FEATURE_STORE_URI_ENV,
    MONITORING_URI_ENV,
    PREDICTION_LOG_URI_ENV,
    SERVING_TOKEN_ENV,
)
from mlinfra_operator.modelversion.deletion import DEFAULT_PATIENCE
from mlinfra_operator.modelversion.imports import ImportScope

TRACKING_URI_ENV = "MLFLOW_TRACKING_URI"
TRAINER_IMAGE_ENV = "MLINFRA_TRAINER_IMAGE"
SERVER_IMAGE_ENV = "MLINFRA_SERVER_IMAGE"
WATCH_NAMESPACE_ENV = "MLINFRA_WATCH_NAMESPACE"
METRICS_ADDRESS_ENV = "MLINFRA_METRICS_ADDRESS"
LEADER_ELECTION_ENV = "MLINFRA_LEADER_ELECTION"
POD_NAME_ENV = "POD_NAME"
POD_NAMESPACE_ENV = "POD_NAMESPACE"
HEALTH_ADDRESS_ENV = "MLINFRA_HEALTH_ADDRESS"
WATCH_SILENCE_ENV = "MLINFRA_WATCH_SILENCE_SECONDS"
IMPORT_NAMESPACE_ENV = "MLINFRA_IMPORT_NAMESPACE"
IMPORT_MODELS_ENV = "MLINFRA_IMPORT_MODELS"
DELETION_PATIENCE_ENV = "MLINFRA_DELETION_PATIENCE_SECONDS"
DEFAULT_DELETION_PATIENCE_SECONDS = DEFAULT_PATIENCE.total_seconds()
LOG_FORMAT_ENV = "MLINFRA_LOG_FORMAT"
MAX_PORT = 65536
LEASE_NAME = "mlinfra-operator"
DEFAULT_TRAINER_IMAGE = "mlinfra-trainer:0.1.0"
DEFAULT_SERVER_IMAGE = "mlinfra-server:0.1.0"


LogFormat = Literal["json", "text"]


class SettingsError(InvalidInputError):
    """The environment lacks what the operator needs."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one operator process.

    Attributes:
        trainer_image, server_image: what pods run where a resource names no image.
        monitoring_uri, prediction_log_uri: where model servers keep their counters and log predictions;
            neither is done where absent.
        serving_token: bearer token for the monitors of the model servers that it runs; none where absent.
        watch_namespace: the only namespace to look at; all of them where absent.
        health_address: ``host:port`` where probes are answered; nowhere where absent.
        watch_silence: seconds without a word after which the connection of a watch counts as dead.
        deletion_patience: seconds for which a ModelVersion that is deleted with its version waits for MLflow.
        import_scope: which versions that are registered outside get a ModelVersion; none where absent.
        log_format: of each line of the log.
        metrics_address: ``host:port`` where Prometheus may scrape; nowhere where absent.
        leader_election: whether one of several replicas works at a time; off only where there is just one.
        identity: who we are among the replicas: the pod's name; a name of this process where absent.
        lease_namespace: where the lease is kept; the namespace that the operator logs in to where absent.
    """

    tracking_uri: str
    trainer_image: str = DEFAULT_TRAINER_IMAGE
    server_image: str = DEFAULT_SERVER_IMAGE
    feature_store_uri: str | None = None
    monitoring_uri: str | None = None
    prediction_log_uri: str | None = None
    serving_token: str | None = field(default=None, repr=False)
    watch_namespace: str | None = None
    health_address: str | None = None
    watch_silence: float = WATCH_SILENCE_SECONDS
    deletion_patience: float = DEFAULT_DELETION_PATIENCE_SECONDS
    import_scope: ImportScope | None = None
    log_format: LogFormat = "text"
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
            SettingsError: MLFLOW_TRACKING_URI is absent or no HTTP address, or another one cannot be read.
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
            server_image=environ.get(SERVER_IMAGE_ENV) or DEFAULT_SERVER_IMAGE,
            monitoring_uri=_folder(environ, MONITORING_URI_ENV),
            prediction_log_uri=environ.get(PREDICTION_LOG_URI_ENV) or None,
            feature_store_uri=environ.get(FEATURE_STORE_URI_ENV) or None,
            serving_token=environ.get(SERVING_TOKEN_ENV) or None,
            watch_namespace=environ.get(WATCH_NAMESPACE_ENV) or None,
            health_address=_address(environ, HEALTH_ADDRESS_ENV),
            watch_silence=_seconds(environ, WATCH_SILENCE_ENV, WATCH_SILENCE_SECONDS),
            deletion_patience=_seconds(environ, DELETION_PATIENCE_ENV, DEFAULT_DELETION_PATIENCE_SECONDS),
            import_scope=_import_scope(environ),
            log_format=_log_format(environ.get(LOG_FORMAT_ENV) or "text"),
            metrics_address=_address(environ, METRICS_ADDRESS_ENV),
            leader_election=_switch(environ.get(LEADER_ELECTION_ENV) or "true", LEADER_ELECTION_ENV),
            identity=environ.get(POD_NAME_ENV) or None,
            lease_namespace=environ.get(POD_NAMESPACE_ENV) or None,
        )


def _folder(environ: Mapping[str, str], name: str) -> str | None:
    uri = environ.get(name)
    if uri and not uri.startswith(("/", "file:///", "file://localhost/")):
        raise SettingsError(
            f"{name} is {uri!r}: model servers keep counters in a folder of a volume that their pods share; "
            "write file:///path"
        )
    return uri or None


def _import_scope(environ: Mapping[str, str]) -> ImportScope | None:
    namespace = environ.get(IMPORT_NAMESPACE_ENV) or None
    models = tuple(each.strip() for each in environ.get(IMPORT_MODELS_ENV, "").split(",") if each.strip())
    if namespace is None:
        if models:
            raise SettingsError(f"{IMPORT_MODELS_ENV} is set: set {IMPORT_NAMESPACE_ENV} as well, or neither")
        return None
    watched = environ.get(WATCH_NAMESPACE_ENV) or namespace
    if watched != namespace:
        raise SettingsError(
            f"{IMPORT_NAMESPACE_ENV} is {namespace!r}, and the operator looks at namespace {watched} alone: "
            "import into that one"
        )
    return ImportScope(namespace, models)


def _address(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name)
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < MAX_PORT:
        raise SettingsError(f"{name} is {text!r}: write host:port, such as 127.0.0.1:8081")
    return text


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise SettingsError(f"{name} is {text!r}: set it to a number of seconds above 0, such as 90")
    return seconds


def _log_format(text: str) -> LogFormat:
    if text not in get_args(LogFormat):
        raise SettingsError(f"{LOG_FORMAT_ENV} is {text!r}: set it to json or text")
    return cast("LogFormat", text)


def _switch(text: str, name: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise SettingsError(f"{name} is {text!r}: set it to true or false")
    return text.lower() == "true"
