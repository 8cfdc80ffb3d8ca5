"""With what each policy of a backtest trains, and when its models take over."""

import math
from typing import Any

import pytest

from mlinfra.errors import InvalidInputError
from mlinfra.resources.promotion import Gate
from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.retraining.backtest.policies import Policy, built_in, policy_of
from mlinfra.retraining.backtest.replay import MIN_IMPROVEMENT
from mlinfra.retraining.backtest.trials import trials_of
from mlinfra.training.config import InvalidConfigError
from mlinfra.training.config_file import Change

GATE = {"metric": "test_accuracy", "min": 0.6}


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "modelName": "churn",
        "model": {"architecture": "mlp"},
        "data": {"featureGroup": "customers", "label": "churned"},
        "image": "registry.example/trainer:1",
        "resourcesPerNode": {"limits": {"nvidia.com/gpu": 1}},
        **changes,
    }


def policy(name: str, **changes: Any) -> Policy:
    return policy_of(name, {"modelName": "churn", "trainingJobTemplate": {"spec": spec(**changes)}})


def test_each_policy_trains_with_its_own_template_and_a_built_in_one_with_the_first() -> None:
    policies = [
        built_in("never"),
        policy("short", training={"epochs": 3}),
        policy("lstm", model={"architecture": "lstm"}),
    ]
    never, short, lstm = trials_of(policies)
    assert (short.config.training.epochs, short.config.model.architecture) == (3, "mlp")
    assert lstm.config.model.architecture == "lstm"
    assert lstm.config.training.epochs != 3
    assert never.config == short.config


def test_options_lie_over_templates() -> None:
    changes = [
        Change(("data", "label"), "late", "--label"),
        Change(("data", "featureGroup"), "payers", "--group"),
    ]
    one, other = trials_of(
        [policy("one"), policy("other", data={"featureGroup": "x", "label": "y"})], changes=changes
    )
    for trial in (one, other):
        assert (trial.config.data.feature_group, trial.config.data.label) == ("payers", "late")


def test_a_given_training_job_goes_before_templates() -> None:
    given = TrainingJobSpec.model_validate(spec(training={"epochs": 9}, promotion={"gates": [GATE]}))
    for promotes, gates in ((True, (Gate(metric="test_accuracy", min=0.6),)), (False, ())):
        trials = trials_of([policy("one", training={"epochs": 3})], given=given, promotes=promotes)
        assert [each.config.training.epochs for each in trials] == [9]
        assert trials[0].gates == gates


@pytest.mark.parametrize(
    ("promotion", "margin"),
    [
        ({"gates": [GATE]}, -math.inf),
        ({"gates": [GATE], "challenger": {"metric": "test_accuracy", "minImprovement": 0.02}}, 0.02),
    ],
)
def test_the_templates_promotion_decides_and_a_built_in_policy_asks_for_better(
    promotion: dict[str, Any], margin: float
) -> None:
    own, never = trials_of([policy("own", promotion=promotion), built_in("never")])
    assert (own.promotion.min_improvement, own.gates) == (margin, (Gate(metric="test_accuracy", min=0.6),))
    assert (never.promotion.min_improvement, never.gates) == (MIN_IMPROVEMENT, ())


def test_a_challenger_in_another_measure_is_refused() -> None:
    with pytest.raises(InvalidConfigError, match="test_accuracy decides"):
        trials_of([policy("auc", promotion={"challenger": {"metric": "test_roc_auc"}})])


def test_templates_that_learn_different_things_are_refused() -> None:
    other = policy("other", data={"featureGroup": "customers", "label": "late"})
    with pytest.raises(InvalidInputError, match=r"one learns churned of customers .*; other learns late"):
        trials_of([policy("one"), other])


@pytest.mark.parametrize("own_code", [{"command": ["python", "mine.py"]}, {"model": None, "data": None}])
def test_own_code_is_refused(own_code: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"policy mine: .*runs its own code.*--config"):
        trials_of([policy("mine", **own_code)])
