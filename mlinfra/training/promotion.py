"""Whether a trained model takes Production: a pure decision, with its reason in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlinfra.resources.built_in_training import Task
from mlinfra.resources.promotion import Challenger, Gate
from mlinfra.training.champion import ChampionScore
from mlinfra.training.config import InvalidConfigError
from mlinfra.training.evaluation import Evaluation
from mlinfra.training.objective import PrimaryMetric

ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class PromotionRule:
    """What a model must reach to take Production by itself.

    Attributes:
        min_accuracy: the least accuracy; a model of values must beat the baseline instead.
        min_improvement: how much better than the champion on the same rows it must be, in the measure that
            decides; 0 allows equal.
    """

    min_accuracy: float = 0.80
    min_improvement: float = 0.0


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """Whether a model is promoted, and why or why not, as the end of a sentence."""

    promoted: bool
    reason: str


def decide_promotion(
    evaluation: Evaluation,
    *,
    rule: PromotionRule,
    champion: ChampionScore | None,
    in_production: str | None,
) -> PromotionDecision:
    """Decide whether a trained model takes Production.

    Args:
        evaluation: the measures of the model on the test rows.
        rule: what it must reach.
        champion: the version in Production when the training began, on the same rows; None where there
            was none.
        in_production: number of the version in Production by now.
    """
    primary, value = evaluation.primary, evaluation.score
    told = f"test {primary.name} {_shown(value)}"
    if problem := _short_of_minimum(evaluation, rule):
        return PromotionDecision(False, f"{told} {problem}")
    if in_production is None:
        return PromotionDecision(True, f"{told}, and no version is in Production")
    if champion is None or champion.version != in_production:
        return PromotionDecision(
            False, f"version {in_production} took Production during the training and was not compared"
        )
    theirs = champion.measures.get(primary.name)
    if theirs is None:
        problem = champion.problem or f"it has no {primary.name}"
        return PromotionDecision(False, f"version {in_production} in Production was not compared: {problem}")
    compared = f"{told}, version {in_production} in Production has {_shown(theirs)} on the same rows"
    if not _reaches(value, theirs, primary, margin=rule.min_improvement):
        asked = f", and {_shown(rule.min_improvement)} better is asked for" if rule.min_improvement else ""
        return PromotionDecision(False, compared + asked)
    return PromotionDecision(True, compared)


def challenger_margin(challenger: Challenger | None, task: Task) -> float | None:
    """How much better than the version in Production a new one must be; None where nobody asks for it.

    Raises:
        InvalidConfigError: it is to be better in another measure than the one that decides here.
    """
    if challenger is None:
        return None
    decides = ("test_mae", "Minimize") if task == "Regression" else ("test_accuracy", "Maximize")
    if (challenger.metric, challenger.goal) != decides:
        raise InvalidConfigError(
            f"promotion.challenger: on this machine {decides[0]} decides, with goal {decides[1]}."
        )
    return challenger.min_improvement


def unmet_gate(gates: Sequence[Gate], metrics: Mapping[str, float]) -> str | None:
    """What the first gate misses that does not pass; a metric that is absent or no number passes none."""
    for gate in gates:
        value = metrics.get(gate.metric)
        if value is None:
            return f"{gate.metric} was not measured"
        # Not `value < gate.min`: what is not a number must not pass.
        if gate.min is not None and not value >= gate.min:
            return f"{gate.metric} {_shown(value)} is below {_shown(gate.min)}"
        if gate.max is not None and not value <= gate.max:
            return f"{gate.metric} {_shown(value)} is above {_shown(gate.max)}"
    return None


def _short_of_minimum(evaluation: Evaluation, rule: PromotionRule) -> str | None:
    accuracy = evaluation.measures.get("accuracy")
    if accuracy is None:
        beaten = evaluation.beats_baseline
        return None if beaten else f"does not beat the baseline's {_shown(evaluation.baseline_score)}"
    # Not `accuracy < minimum`: what is not a number must not pass.
    return None if accuracy >= rule.min_accuracy else f"is below {_shown(rule.min_accuracy)}"


def _reaches(value: float, theirs: float, primary: PrimaryMetric, *, margin: float) -> bool:
    gain = value - theirs if primary.higher_is_better else theirs - value
    return gain >= margin - ROUNDING


def _shown(value: float) -> str:
    return f"{value:.6g}"
