"""What a RetrainingPolicy watches of the served model: drift of its inputs, and how good its answers are."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, model_validator

from mlinfra.resources.base import Integer, ResourceModel

DriftMethod = Literal["PSI", "JensenShannon", "KolmogorovSmirnov", "Wasserstein", "ChiSquared", "LInfinity"]
HIGHER_IS_BETTER = frozenset({"accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "r2"})
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae", "rmse"})
ONE_WINDOW_KIND = "a window has either rows or seconds"
MORE_BREACHES_THAN_WINDOWS = "breachedWindows must not be more than ofWindows"
MORE_SAMPLES_THAN_ROWS = "minSamples must not be more than window.rows: no window would ever be enough"
CLEAR_ABOVE_THRESHOLD = "clearThreshold must not be above threshold"
CLEAR_WITHOUT_THRESHOLD = "clearThreshold needs a threshold"
WINDOW_RULES: tuple[JsonValue, ...] = (
    {"rule": "self.breachedWindows <= self.ofWindows", "message": MORE_BREACHES_THAN_WINDOWS},
    {
        "rule": "!has(self.window) || !has(self.window.rows) || self.minSamples <= self.window.rows",
        "message": MORE_SAMPLES_THAN_ROWS,
    },
)


class MonitoringWindow(ResourceModel):
    """How much of what was served one check looks at."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {"rule": "has(self.rows) != has(self.seconds)", "message": ONE_WINDOW_KIND}
            ]
        }
    )

    rows: Annotated[
        Integer | None, Field(ge=1, le=100_000_000, description="As many of the newest predictions.")
    ] = None
    seconds: Annotated[
        Integer | None,
        Field(ge=1, le=31_536_000, description="As many seconds of event time."),
    ] = None

    @model_validator(mode="after")
    def _one_kind(self) -> "MonitoringWindow":
        if (self.rows is None) == (self.seconds is None):
            raise ValueError(ONE_WINDOW_KIND)
        return self


class WindowedCheck(ResourceModel):
    """What checks of drift and of performance have in common: windows, and how many of them must breach."""

    window: Annotated[
        MonitoringWindow | None,
        Field(description="What one check looks at; 1,000 predictions where absent."),
    ] = None
    min_samples: Annotated[
        Integer,
        Field(ge=1, le=100_000_000, description="A window of fewer samples is inconclusive."),
    ] = 100
    breached_windows: Annotated[
        Integer, Field(ge=1, le=100, description="How many of the last ofWindows must breach.")
    ] = 2
    of_windows: Annotated[
        Integer, Field(ge=1, le=100, description="How many of the newest windows are looked at.")
    ] = 3

    @model_validator(mode="after")
    def _windows_suffice(self) -> "WindowedCheck":
        if self.breached_windows > self.of_windows:
            raise ValueError(MORE_BREACHES_THAN_WINDOWS)
        rows = self.window.rows if self.window is not None else None
        if rows is not None and self.min_samples > rows:
            raise ValueError(MORE_SAMPLES_THAN_ROWS)
        return self


class DriftPolicy(WindowedCheck):
    """When what the model is asked differs from what it learnt from."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                *WINDOW_RULES,
                {
                    "rule": "!has(self.clearThreshold) || has(self.threshold)",
                    "message": CLEAR_WITHOUT_THRESHOLD,
                },
                {
                    "rule": "!has(self.clearThreshold) || !has(self.threshold)"
                    " || self.clearThreshold <= self.threshold",
                    "message": CLEAR_ABOVE_THRESHOLD,
                },
            ]
        }
    )

    method: Annotated[
        DriftMethod,
        Field(description="How distributions are compared, each feature's with its reference."),
    ] = "PSI"
    threshold: Annotated[
        float | None,
        Field(
            gt=0,
            description="A feature drifts above it; where absent, each feature's threshold is calibrated "
            "on the reference for falseAlarmRate.",
        ),
    ] = None
    clear_threshold: Annotated[
        float | None,
        Field(gt=0, description="A feature that drifted does so until it is below; threshold where absent."),
    ] = None
    false_alarm_rate: Annotated[
        float,
        Field(
            gt=0,
            lt=1,
            description="Share of windows without drift that may breach, over all features together "
            "(Benjamini-Hochberg).",
        ),
    ] = 0.01
    features: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=253)]],
        Field(
            max_length=1024,
            description="Features to look at; all that the model reads where empty.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = Field(default_factory=list)
    on_breach: Annotated[
        Literal["Evaluate", "Retrain"],
        Field(
            description="Evaluate: retrain only where the model also lost performance, measured or "
            "estimated. Retrain: retrain at once."
        ),
    ] = "Evaluate"

    @model_validator(mode="after")
    def _clears_below(self) -> "DriftPolicy":
        if self.clear_threshold is None:
            return self
        if self.threshold is None:
            raise ValueError(CLEAR_WITHOUT_THRESHOLD)
        if self.clear_threshold > self.threshold:
            raise ValueError(CLEAR_ABOVE_THRESHOLD)
        return self


class PerformancePolicy(WindowedCheck):
    """When the model's answers are no longer good enough, by labels that came later or by an estimate."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-validations": [*WINDOW_RULES]})

    metric: Annotated[
        str,
        Field(
            min_length=1,
            max_length=64,
            description="Measure to watch, as training names it without test_, such as accuracy, f1, "
            "roc_auc, log_loss, mae or rmse.",
        ),
    ] = "accuracy"
    threshold: Annotated[
        float | None,
        Field(description="Breached when worse than this; maxLoss alone decides where absent."),
    ] = None
    max_loss: Annotated[
        float,
        Field(
            gt=0,
            description="Breached when worse by more than this than on the test rows of its training; for "
            "log_loss, mae and rmse it is a share of what they were there.",
        ),
    ] = 0.05
    estimate: Annotated[
        Literal["WhenUnlabelled", "Never"],
        Field(
            description="WhenUnlabelled: where too few labels have come, the performance is estimated from "
            "the model's own probabilities. Never: such a window is inconclusive."
        ),
    ] = "WhenUnlabelled"


class AutomaticRollback(ResourceModel):
    """When a new version that the policy promoted gives way to the one before."""

    observation_seconds: Annotated[
        Integer,
        Field(ge=60, le=31_536_000, description="How long a new version is compared with the one before."),
    ] = 86_400
    max_loss: Annotated[
        float,
        Field(
            ge=0,
            description="It does worse where its performance is worse by more than this than that of the "
            "version before was in its last windows, beyond what chance explains (three standard errors); in "
            "the metric's own unit.",
        ),
    ] = 0.02
