"""Names from model names: legal in Kubernetes, and different for different models."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.objects import training_job

from mlinfra.resources.monitor_status import MonitorEvidence
from mlinfra.resources.names import MODEL_LABEL
from mlinfra.resources.training_job_status import Lineage
from mlinfra_operator.naming import MAX_SLUG_LENGTH, model_version_name, slug
from mlinfra_operator.trainingjob.model_version_builder import build_model_version

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


@pytest.mark.parametrize("name", ["a", "sp500-volatility", "x" * MAX_SLUG_LENGTH])
def test_a_name_that_kubernetes_takes_stays(name: str) -> None:
    assert slug(name) == name


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("Sp500 Volatility", "sp500-volatility-"),
        ("a_b", "a-b-"),
        ("-a-", "a-"),
        ("日経", ""),
        ("x" * 64, "x" * 57 + "-"),
    ],
)
def test_an_altered_name_ends_in_a_hash(name: str, head: str) -> None:
    found = slug(name)
    assert re.fullmatch(re.escape(head) + "[0-9a-f]{5}", found)


@given(st.text(min_size=1, max_size=200))
def test_every_slug_is_a_label_and_a_name(name: str) -> None:
    assert LABEL.fullmatch(slug(name))
    assert len(slug(name)) <= MAX_SLUG_LENGTH


def test_names_that_differ_only_in_what_is_altered_do_not_collide() -> None:
    assert len({slug(name) for name in ("a b", "a_b", "a.b", "A B", "a-b")}) == 5


def test_the_version_ends_the_name() -> None:
    assert model_version_name("model", "12") == "model-12"


def test_a_model_version_has_no_owner_and_names_its_source() -> None:
    job = training_job(promotion={"stage": "Staging", "gates": [{"metric": "test_accuracy", "min": 0.8}]})
    lineage = Lineage(
        feature_snapshot="snapshot-1",
        image_digest="sha256:1",
        retraining_policy="nightly",
        trigger="scheduled",
    )
    built = build_model_version(job, version="3", run_id="run-9", lineage=lineage)
    assert built["metadata"] == {"name": "model-3", "namespace": "team", "labels": {MODEL_LABEL: "model"}}
    assert built["spec"] == {
        "modelName": "model",
        "version": "3",
        "source": {
            "runID": "run-9",
            "trainingJob": "job",
            "retrainingPolicy": "nightly",
            "trigger": "scheduled",
            "featureSnapshot": "snapshot-1",
            "imageDigest": "sha256:1",
        },
        "stage": "Staging",
        "gates": [{"metric": "test_accuracy", "min": 0.8}],
        "approval": "Approved",
        "deletionPolicy": "Retain",
    }


def test_without_auto_promotion_mlflow_owns_the_stage() -> None:
    job = training_job(promotion={"auto": False})
    built = build_model_version(job, version="3", run_id="run-9", lineage=None)
    assert "stage" not in built["spec"]
    assert built["spec"]["source"] == {"runID": "run-9", "trainingJob": "job"}


def test_a_training_hands_on_how_its_version_is_served_and_on_what_evidence_it_was_asked_for() -> None:
    evidence = [MonitorEvidence(trigger="drift", outcome="breached", score="0.31")]
    lineage = Lineage(retraining_policy="p", trigger="drift", message="PSI 0.31", evidence=evidence)
    job = training_job(serving={"replicas": 2})
    built = build_model_version(job, version="3", run_id="run-9", lineage=lineage)
    assert built["spec"]["serving"]["replicas"] == 2
    assert built["spec"]["source"]["message"] == "PSI 0.31"
    (kept,) = built["spec"]["source"]["evidence"]
    assert (kept["trigger"], kept["score"]) == ("drift", "0.31")
