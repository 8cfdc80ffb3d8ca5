"""What a training's resources tell of it, and the resources that a replay applies."""

from datetime import UTC, datetime
from typing import Any

from mlinfra.resources import ModelVersion, RetrainingPolicy, TrainingJob
from mlinfra.resources.monitor_status import MonitorEvidence
from mlinfra.retraining.live.manifests import LiveSettings, first_training, retraining_policy
from mlinfra.retraining.live.story import retraining_of

TIME = datetime(2005, 3, 11, 21, tzinfo=UTC)
SETTINGS = LiveSettings(
    model="turbulence-1",
    group="known",
    start=datetime(2003, 12, 31, tzinfo=UTC),
    until=datetime(2005, 1, 1, tzinfo=UTC),
)
TEMPLATE: dict[str, Any] = {
    "modelName": "turbulence",
    "model": {"architecture": "mlp"},
    "data": {
        "featureGroup": "nasdaq_daily",
        "label": "turbulent",
        "startDate": "1999-01-01",
        "windowLength": 1,
    },
    "training": {"epochs": 3},
}


def job(**status: Any) -> TrainingJob:
    return TrainingJob.model_validate(
        {
            "metadata": {"name": "turbulence-1-abc", "namespace": "default"},
            "spec": {"modelName": "m", "image": "i"},
            "status": status,
        }
    )


def test_a_training_that_was_promoted_has_its_scores_and_both_accuracies() -> None:
    evidence = [
        {"trigger": "performance", "outcome": "breached", "score": "0.19"},
        {"trigger": "drift", "outcome": "breached", "score": "2.8"},
    ]
    version = ModelVersion.model_validate(
        {
            "metadata": {"name": "turbulence-1-2", "namespace": "default"},
            "spec": {"modelName": "m", "version": "2"},
            "status": {
                "gates": [
                    {"metric": "test_loss", "value": "1", "outcome": "Passed"},
                    {
                        "metric": "test_accuracy",
                        "value": "0.85",
                        "championValue": "0.17",
                        "outcome": "Passed",
                    },
                ]
            },
        }
    )
    lineage = {"trigger": "performance", "message": "accuracy 19 %", "evidence": evidence}
    found = retraining_of(
        job(lineage=lineage), version, promoted=True, reason="in Production", time=TIME, seconds=9.0
    )
    assert (found.trigger, found.message) == ("performance", "accuracy 19 %")
    assert (found.drift, found.performance) == (2.8, 0.19)
    assert (found.old, found.new, found.version, found.promoted) == (0.17, 0.85, "2", True)


def test_what_a_monitor_said_that_did_not_ask_is_told_beside_it() -> None:
    asked = {"trigger": "performance", "outcome": "breached", "score": "0.19"}
    said = [
        MonitorEvidence.model_validate(asked | {"score": "0.2"}),
        MonitorEvidence(trigger="drift", outcome="ok", score="2.8"),
    ]
    lineage = {"trigger": "performance", "evidence": [asked]}
    found = retraining_of(
        job(lineage=lineage), None, said, promoted=False, reason="no", time=TIME, seconds=9.0
    )
    assert (found.drift, found.performance) == (2.8, 0.19)


def test_a_training_that_failed_has_its_reason_and_no_version() -> None:
    found = retraining_of(job(), None, promoted=False, reason="TooFewRows: 3", time=TIME, seconds=1.0)
    assert (found.drift, found.performance, found.old, found.new, found.version) == (None,) * 5
    assert (found.promoted, found.reason, found.trigger) == (False, "TooFewRows: 3", "")


def test_the_manifests_are_valid_and_of_the_newest_known_rows() -> None:
    first = TrainingJob.model_validate(first_training(SETTINGS, TEMPLATE))
    assert (first.spec.data.feature_group, first.spec.data.last_days) == ("known", 1096)
    assert first.spec.data.start_date is None
    assert first.spec.training.epochs == 3
    assert first.spec.promotion.stage == "Production"
    policy = RetrainingPolicy.model_validate(retraining_policy(SETTINGS, TEMPLATE))
    assert policy.spec.training_job_template.spec == first.spec
    assert policy.spec.drift.on_breach == "Evaluate"
    assert policy.spec.performance.window.rows == policy.spec.drift.window.rows == 100
    assert (policy.spec.performance.min_samples, policy.spec.drift.min_samples) == (50, 50)
    assert policy.spec.rollback is not None
