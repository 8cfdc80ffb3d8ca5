"""A trained model takes Production only where it is good enough, alone and against the champion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.resources.promotion import Gate
from mlinfra.training.champion import ChampionScore
from mlinfra.training.evaluation import Evaluation
from mlinfra.training.objective import Classification, Regression
from mlinfra.training.promotion import PromotionRule, decide_promotion, unmet_gate

RULE = PromotionRule(min_accuracy=0.8)
STRICT = PromotionRule(0.8, min_improvement=0.01)
CHAMPION = ChampionScore("3", {"accuracy": 0.85})
UNSCORED = ChampionScore("3", problem='it predicts "down", not "up"')


def classes(accuracy: float) -> Evaluation:
    return Evaluation(Classification.primary, {"accuracy": accuracy}, {"baseline": {"accuracy": 0.5}})


def values(error: float) -> Evaluation:
    return Evaluation(Regression.primary, {"mae": error}, {"baseline": {"mae": 2.0}})


@pytest.mark.parametrize(
    ("accuracy", "rule", "champion", "in_production", "promoted", "reason"),
    [
        (0.8, RULE, None, None, True, "test accuracy 0.8, and no version is in Production"),
        (0.79, RULE, None, None, False, "test accuracy 0.79 is below 0.8"),
        (float("nan"), RULE, None, None, False, "test accuracy nan is below 0.8"),
        (0.85, RULE, CHAMPION, "3", True, "test accuracy 0.85, version 3 in Production has 0.85 on the same"),
        (0.8499, RULE, CHAMPION, "3", False, "test accuracy 0.8499, version 3 in Production has 0.85"),
        (0.86, STRICT, CHAMPION, "3", True, "version 3 in Production has 0.85"),
        (0.855, STRICT, CHAMPION, "3", False, "0.01 better is asked for"),
        (0.75, RULE, ChampionScore("3", {"accuracy": 0.7}), "3", False, "is below 0.8"),
        (0.99, RULE, ChampionScore("3", {"accuracy": float("nan")}), "3", False, "has nan"),
        (0.99, RULE, UNSCORED, "3", False, 'was not compared: it predicts "down", not "up"'),
        (0.99, RULE, ChampionScore("3", {"mae": 1.0}), "3", False, "it has no accuracy"),
        (0.9, RULE, None, "4", False, "version 4 took Production during the training"),
        (0.9, RULE, CHAMPION, "4", False, "version 4 took Production during the training"),
        (0.81, RULE, CHAMPION, None, True, "no version is in Production"),
    ],
)
def test_decision_and_its_reason(
    accuracy: float,
    rule: PromotionRule,
    champion: ChampionScore | None,
    in_production: str | None,
    promoted: bool,
    reason: str,
) -> None:
    decision = decide_promotion(classes(accuracy), rule=rule, champion=champion, in_production=in_production)
    assert decision.promoted == promoted
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("error", "theirs", "improvement", "promoted"),
    [
        (1.9, None, 0.0, True),
        (2.0, None, 0.0, False),
        (float("nan"), None, 0.0, False),
        (1.0, 1.0, 0.0, True),
        (1.01, 1.0, 0.0, False),
        (0.9, 1.0, 0.1, True),
        (0.95, 1.0, 0.1, False),
        (2.1, 3.0, 0.0, False),
    ],
)
def test_a_model_of_values_needs_to_beat_the_baseline_and_the_champion(
    error: float, theirs: float | None, improvement: float, promoted: bool
) -> None:
    decision = decide_promotion(
        values(error),
        rule=PromotionRule(min_improvement=improvement),
        champion=None if theirs is None else ChampionScore("1", {"mae": theirs}),
        in_production=None if theirs is None else "1",
    )
    assert decision.promoted == promoted


@given(
    accuracy=st.floats(0, 1), theirs=st.floats(0, 1), minimum=st.floats(0, 1), improvement=st.floats(0, 0.5)
)
def test_what_is_promoted_is_at_least_as_good_as_all_asked_for(
    accuracy: float, theirs: float, minimum: float, improvement: float
) -> None:
    decision = decide_promotion(
        classes(accuracy),
        rule=PromotionRule(minimum, improvement),
        champion=ChampionScore("1", {"accuracy": theirs}),
        in_production="1",
    )
    assert decision.promoted == (accuracy >= minimum and accuracy - theirs >= improvement - 1e-12)


@pytest.mark.parametrize(
    ("metrics", "unmet"),
    [
        ({"test_f1": 0.5, "test_log_loss": 0.7}, None),
        ({"test_f1": 0.4, "test_log_loss": 0.7}, "test_f1 0.4 is below 0.5"),
        ({"test_f1": 0.5, "test_log_loss": 0.8}, "test_log_loss 0.8 is above 0.7"),
        ({"test_f1": float("nan"), "test_log_loss": 0.7}, "test_f1 nan is below 0.5"),
        ({"test_f1": 0.5}, "test_log_loss was not measured"),
    ],
)
def test_gates_on_further_metrics(metrics: dict[str, float], unmet: str | None) -> None:
    gates = [Gate(metric="test_f1", min=0.5), Gate(metric="test_log_loss", max=0.7)]
    assert unmet_gate(gates, metrics) == unmet
