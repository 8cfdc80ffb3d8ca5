"""What a model server is told when it starts: by its pod's environment, or by options."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlinfra.resources.names import (
    FEATURE_STORE_URI_ENV,
    MONITORING_URI_ENV,
    PREDICTION_LOG_URI_ENV,
    SERVED_DIGEST_ENV,
    SERVED_MODEL_ENV,
    SERVING_TOKEN_ENV,
)
from mlinfra.serving.errors import InvalidSettingError

MissingPolicy = Literal["reject", "default", "last"]
PREFIX = "MLINFRA_SERVING_"
NAMED = {
    "model": SERVED_MODEL_ENV,
    "digest": SERVED_DIGEST_ENV,
    "tracking_uri": "MLFLOW_TRACKING_URI",
    "port": "PORT",
    "feature_store_uri": FEATURE_STORE_URI_ENV,
    "prediction_log_uri": PREDICTION_LOG_URI_ENV,
    "monitoring_uri": MONITORING_URI_ENV,
    "token": SERVING_TOKEN_ENV,
}
"""Settings that have an environment variable of their own; the others' is ``MLINFRA_SERVING_<NAME>``."""
JSON_SETTINGS = ("defaults",)


class ServingSettings(BaseModel):
    """Settings of a model server.

    Attributes:
        model: what is served: ``models:/<name>/<version>``, ``models:/<name>@<alias>``, which is followed,
            ``models:/<model ID>``, or the path of an ONNX file.
        digest: SHA-256 that the model's file must have, in hexadecimal, with or without ``sha256:``; also
            that of a version that a followed alias comes to mean.
        name: name of the model in the routes; the registered name, or the file's, by default.
        tracking_uri: MLflow.
        host, port: where the server listens.
        grpc_port: where it also answers over gRPC; nowhere by default.
        token: bearer token that every call but those of health must carry.
        max_body_bytes: the largest body that is read.
        max_pending: requests that may wait for the model; more are answered with 429.
        max_batch_rows: rows that the model computes at once at most.
        batch_wait_seconds: how long a request may wait for others to be computed with, where requests come
            at the same time; by default they are computed together only while the model is busy.
        threads: threads that compute one batch.
        body_seconds: how long a body may take to arrive, and before it the head.
        connection_seconds: age after which a connection ends with its next answer, so that clients that keep
            theirs follow a Service to other pods; 0 for never.
        follow_seconds: how often an alias is looked up again.
        drain_seconds: after SIGTERM, how long the server still answers, as not ready, before it ends.
        feature_store_uri: feature store of predictions by entity.
        feature_group: its group; that of the training by default.
        online_version: version of the online group.
        ttl_seconds: the oldest that a feature may be; any age by default.
        missing: what is done about features that are missing or too old.
        defaults: value of each feature for the policy ``default``.
        prediction_log_uri: feature store that predictions are logged to; they are not by default.
        log_share: share of the predictions that is logged with its features; the others without.
        log_buffer_rows: predictions that may wait to be logged; more are dropped and counted.
        log_seconds: how often they are written.
        log_days: for how long logged predictions and their labels are kept; for ever by default.
        remembered_predictions: predictions whose labels are waited for; the label of an older one is unknown.
        label_group: feature group that others write labels to, in ``feature_store_uri`` where that is given
            and otherwise where predictions are logged.
        label_column: its column with the labels.
        replica: name of this server among those of the model; by default the pod's, or machine and port.
        monitoring_uri: folder that keeps the counters of monitoring, and labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: Annotated[str, Field(min_length=1)]
    digest: str | None = None
    name: Annotated[str | None, Field(pattern=r"^[^/]+$")] = None
    tracking_uri: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    grpc_port: Annotated[int | None, Field(ge=0, le=65535)] = None
    token: Annotated[str | None, Field(min_length=8, repr=False)] = None
    max_body_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024
    max_pending: Annotated[int, Field(ge=1, le=100_000)] = 512
    max_batch_rows: Annotated[int, Field(ge=1, le=65_536)] = 64
    batch_wait_seconds: Annotated[float, Field(ge=0, le=1)] = 0.0
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    body_seconds: Annotated[float, Field(gt=0)] = 30.0
    connection_seconds: Annotated[float, Field(ge=0)] = 60.0
    follow_seconds: Annotated[float, Field(gt=0)] = 10.0
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = 0.0
    feature_store_uri: str | None = None
    feature_group: str | None = None
    online_version: str | None = None
    ttl_seconds: Annotated[float | None, Field(gt=0)] = None
    missing: MissingPolicy = "reject"
    defaults: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    prediction_log_uri: str | None = None
    log_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    log_buffer_rows: Annotated[int, Field(ge=1)] = 100_000
    log_seconds: Annotated[float, Field(gt=0)] = 5.0
    log_days: Annotated[float | None, Field(gt=0, le=36_500)] = None
    remembered_predictions: Annotated[int, Field(ge=1)] = 200_000
    label_group: Annotated[str | None, Field(min_length=1)] = None
    label_column: Annotated[str, Field(min_length=1)] = "label"
    replica: Annotated[str | None, Field(min_length=1, max_length=253)] = None
    monitoring_uri: str | None = None


def settings_from(environ: Mapping[str, str], given: Mapping[str, Any]) -> ServingSettings:
    """Settings from options, and from the environment where an option is None.

    Raises:
        InvalidSettingError: one is missing or has a value that cannot be; the message names it.
    """
    values: dict[str, Any] = {}
    for name in ServingSettings.model_fields:
        variable = NAMED.get(name, PREFIX + name.upper())
        if given.get(name) is not None:
            values[name] = given[name]
        elif environ.get(variable):
            values[name] = _read(variable, environ[variable], as_json=name in JSON_SETTINGS)
    if "model" not in values:
        raise InvalidSettingError(
            f"there is no model to serve: set {NAMED['model']} to models:/<name>/<version>, "
            "models:/<name>@<alias> or the path of an ONNX file"
        )
    try:
        return ServingSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = NAMED.get(name, PREFIX + name.upper())
        raise InvalidSettingError(f"setting {name} ({variable}): {first['msg']}") from error


def _read(variable: str, text: str, *, as_json: bool) -> Any:
    if not as_json:
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidSettingError(f"{variable} is not JSON: {error}") from error
