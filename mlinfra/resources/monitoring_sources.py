"""Whom a RetrainingPolicy asks what became of its model, and of which rows."""

from typing import Annotated, Final

from pydantic import ConfigDict, Field, JsonValue, model_validator

from mlinfra.resources.base import Integer, ResourceModel
from mlinfra.resources.monitoring import HIGHER_IS_BETTER, LOWER_IS_BETTER, DriftPolicy, PerformancePolicy

ONE_SOURCE = "prometheus is asked in place of a model server: it goes with neither url nor featureGroup"
QUERY_FOR_EACH = "monitoring.prometheus needs a query for drift and for performance, as the policy has them"
BARE_VALUES = (
    "with monitoring.prometheus, drift and performance need threshold and window.seconds: Prometheus knows "
    "nothing of training rows, and no rows"
)
NO_FEATURES = (
    "with monitoring.prometheus its query tells which features are looked at: leave drift.features empty"
)
DRIFT_ALONE = (
    "with monitoring.prometheus, drift.onBreach Evaluate needs performance and its query; Retrain needs none"
)
NO_SIDE = "with monitoring.prometheus, performance.metric tells which side is worse: it must be one of " + (
    ", ".join(sorted(HIGHER_IS_BETTER | LOWER_IS_BETTER))
)
_ASKED = "!has(self.monitoring) || !has(self.monitoring.prometheus)"
_KNOWN = ", ".join(f"'{name}'" for name in sorted(HIGHER_IS_BETTER | LOWER_IS_BETTER))
PROMETHEUS_RULES: Final[tuple[JsonValue, ...]] = (
    {
        "rule": f"{_ASKED} || (has(self.drift) == has(self.monitoring.prometheus.drift)"
        " && has(self.performance) == has(self.monitoring.prometheus.performance))",
        "message": QUERY_FOR_EACH,
    },
    {
        "rule": f"{_ASKED} || !has(self.drift)"
        " || (has(self.drift.threshold) && has(self.drift.window) && has(self.drift.window.seconds))",
        "message": BARE_VALUES,
    },
    {
        "rule": f"{_ASKED} || !has(self.performance) || (has(self.performance.threshold)"
        " && has(self.performance.window) && has(self.performance.window.seconds))",
        "message": BARE_VALUES,
    },
    {
        "rule": f"{_ASKED} || !has(self.drift) || !has(self.drift.features)"
        " || size(self.drift.features) == 0",
        "message": NO_FEATURES,
    },
    {
        "rule": f"{_ASKED} || !has(self.drift) || self.drift.onBreach == 'Retrain' || has(self.performance)",
        "message": DRIFT_ALONE,
    },
    {
        "rule": f"{_ASKED} || !has(self.performance) || self.performance.metric in [{_KNOWN}]",
        "message": NO_SIDE,
    },
)
"""Of the spec of a RetrainingPolicy; `prometheus_problem` tells the same."""


class PrometheusQuery(ResourceModel):
    """What tells one monitor's score."""

    query: Annotated[
        str,
        Field(
            min_length=1,
            max_length=4096,
            description="PromQL expression of one series at most, such as "
            'max(mlinfra_monitoring_drift_score{model="m", method="PSI"}); its value at the end of each '
            "window is compared with the threshold.",
        ),
    ]
    samples_query: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=4096,
            description="PromQL expression of how many samples a window has, for minSamples; where absent, "
            "each window that has a value has enough.",
        ),
    ] = None


class PrometheusSource(ResourceModel):
    """A Prometheus, or what answers as it does, and what to ask it."""

    server_address: Annotated[
        str,
        Field(
            max_length=512,
            pattern=r"^https?://[^?#\s]+$",
            description="Address of Prometheus without /api/v1, such as http://prometheus.monitoring:9090; "
            "it is asked without credentials.",
        ),
    ]
    drift: Annotated[PrometheusQuery | None, Field(description="What tells drift.")] = None
    performance: Annotated[
        PrometheusQuery | None, Field(description="What tells the performance's metric.")
    ] = None


class FeatureGroupSource(ResourceModel):
    """Rows of the feature store that a model server reads, and answers, to check what became of its model."""

    name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
            description="Name of the feature group, which has the model's features; the one that the model "
            "learnt from where absent.",
        ),
    ] = None
    label: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=253,
            description="Column of the labels, empty in rows that have none yet; the one that the model "
            "predicts where absent, if the group has it.",
        ),
    ] = None


class MonitoringSource(ResourceModel):
    """Whom a policy asks what its model's monitors say, and how often."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.prometheus) || !(has(self.url) || has(self.featureGroup))",
                    "message": ONE_SOURCE,
                }
            ]
        }
    )

    interval_seconds: Annotated[
        Integer, Field(ge=1, le=86_400, description="Seconds from one check to the next.")
    ] = 300
    timeout_seconds: Annotated[Integer, Field(ge=1, le=300, description="How long one check may take.")] = 10
    url: Annotated[
        str | None,
        Field(
            max_length=512,
            pattern=r"^https?://[^/?#\s]+$",
            description="Address of a model server, such as http://model.example:8080; the Service of the "
            "version in Production where absent.",
        ),
    ] = None
    feature_group: Annotated[
        FeatureGroupSource | None,
        Field(
            description="Have the model server check the newest rows of a feature group in place of what it "
            "was asked, such as rows that are predicted in batches."
        ),
    ] = None
    prometheus: Annotated[
        PrometheusSource | None,
        Field(description="Compare values of a Prometheus with the thresholds; no model server is asked."),
    ] = None

    @model_validator(mode="after")
    def _one_source(self) -> "MonitoringSource":
        if self.prometheus is not None and not (self.url is None and self.feature_group is None):
            raise ValueError(ONE_SOURCE)
        return self


def prometheus_problem(
    source: PrometheusSource | None, drift: DriftPolicy | None, performance: PerformancePolicy | None
) -> str | None:
    """Why these monitors cannot be told by Prometheus; None where they can, or are not asked for there."""
    if source is None:
        return None
    if (drift is None, performance is None) != (source.drift is None, source.performance is None):
        return QUERY_FOR_EACH
    for check in (drift, performance):
        if check is not None and (
            check.threshold is None or check.window is None or check.window.seconds is None
        ):
            return BARE_VALUES
    if drift is not None and drift.features:
        return NO_FEATURES
    if drift is not None and drift.on_breach == "Evaluate" and performance is None:
        return DRIFT_ALONE
    if performance is not None and performance.metric not in HIGHER_IS_BETTER | LOWER_IS_BETTER:
        return NO_SIDE
    return None
