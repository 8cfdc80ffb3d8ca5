"""The resources of a replay: the first training, and the policy that watches what comes of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mlinfra.resources.base import API_VERSION
from mlinfra.resources.monitoring import MonitoringWindow
from mlinfra.retraining.backtest.policies import built_in

Object = dict[str, Any]

REPLAY_LABEL = "mlinfra.io/live-replay"
"""On what a replay applies: so the next one finds and removes it."""
MIN_IMPROVEMENT = 0.02
"""One more row that is right, of the 76 that both are compared on, is no reason to switch."""
METRIC = "test_accuracy"
DAY_SECONDS = 86_400
TRIAL_DAYS = 180


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What is replayed.

    Attributes:
        model: name of the registered model; also of its resources.
        group: feature group that holds what is known.
        start: the traffic begins after it; the first model learns what is known by then.
        until: end of the traffic.
        label_delay: how long after its row a label is known.
        check_rows: rows between two checks.
        window_rows: rows in a window of a check.
        training_days: days of rows that a training learns from.
        patience: seconds that a training, up to the first answer of its model, may take.
    """

    model: str
    group: str
    start: datetime
    until: datetime
    label_delay: timedelta = timedelta(days=7)
    check_rows: int = 5
    window_rows: int = 100
    training_days: int = 1096
    patience: float = 600.0


def training_spec(settings: LiveSettings, template: Mapping[str, Any]) -> Object:
    """The spec of each training: the template's, of the newest known rows, to be promoted and served.

    Args:
        settings: names and windows.
        template: spec of a TrainingJob; its group and its dates do not count.
    """
    data = {
        key: value
        for key, value in template["data"].items()
        if key not in ("startDate", "endDate", "snapshot")
    }
    return {
        **template,
        "modelName": settings.model,
        "data": data | {"featureGroup": settings.group, "lastDays": settings.training_days},
        "promotion": {
            "stage": "Production",
            "challenger": {"metric": METRIC, "minImprovement": MIN_IMPROVEMENT},
        },
        "serving": {"rollbackWindowSeconds": 600},
    }


def first_training(settings: LiveSettings, template: Mapping[str, Any]) -> Object:
    """The TrainingJob of the first version."""
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingJob",
        "metadata": {"name": f"{settings.model}-first", "labels": {REPLAY_LABEL: settings.model}},
        "spec": training_spec(settings, template),
    }


def retraining_policy(settings: LiveSettings, template: Mapping[str, Any]) -> Object:
    """The default policy: drift starts an evaluation, a loss of performance retrains.

    Its monitors are asked by the annotation alone, and it has no limits in hours: a replay's time is that of
    its events. A new version is on trial for as long as its first whole window lasts.
    """
    watched = built_in("both", window=MonitoringWindow(rows=settings.window_rows)).spec
    assert watched.drift is not None
    assert watched.performance is not None
    return {
        "apiVersion": API_VERSION,
        "kind": "RetrainingPolicy",
        "metadata": {"name": settings.model, "labels": {REPLAY_LABEL: settings.model}},
        "spec": {
            "modelName": settings.model,
            "drift": watched.drift.to_wire(),
            "performance": watched.performance.to_wire(),
            "monitoring": {"intervalSeconds": DAY_SECONDS},
            "rollback": {"observationSeconds": TRIAL_DAYS * DAY_SECONDS},
            "successfulJobsHistoryLimit": 20,
            "failedJobsHistoryLimit": 20,
            "trainingJobTemplate": {
                "metadata": {"labels": {REPLAY_LABEL: settings.model}},
                "spec": training_spec(settings, template),
            },
        },
    }
