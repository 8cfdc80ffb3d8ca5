"""Gates: which verdict bounds and values come to, and how it is told."""

import math

import pytest

from mlinfra.resources.promotion import Challenger, Gate
from mlinfra_operator.modelversion.gates import Rival, evaluate, with_challenger
from mlinfra_operator.tracking import MeasuredRun, Problem

AT_LEAST = Gate(metric="accuracy", min=0.8)
AT_MOST = Gate(metric="loss", max=0.5)
BETWEEN = Gate(metric="rate", min=0.1, max=0.2)


@pytest.mark.parametrize(
    ("gates", "metrics", "verdict"),
    [
        ([], {}, "Passed"),
        ([AT_LEAST], {"accuracy": 0.8}, "Passed"),
        ([AT_LEAST], {"accuracy": 0.79}, "Failed"),
        ([AT_LEAST], {}, "Inconclusive"),
        ([AT_LEAST], {"accuracy": math.nan}, "Error"),
        ([AT_LEAST], {"accuracy": math.inf}, "Passed"),
        ([AT_MOST], {"loss": 0.5}, "Passed"),
        ([AT_MOST], {"loss": 0.51}, "Failed"),
        ([BETWEEN], {"rate": 0.1}, "Passed"),
        ([BETWEEN], {"rate": 0.2}, "Passed"),
        ([BETWEEN], {"rate": 0.21}, "Failed"),
        ([AT_LEAST, AT_MOST], {"accuracy": 0.9, "loss": 0.1}, "Passed"),
        ([AT_LEAST, AT_MOST], {"accuracy": 0.9}, "Inconclusive"),
        ([AT_LEAST, AT_MOST], {"loss": 0.9}, "Failed"),
        ([AT_LEAST, AT_MOST], {"accuracy": math.nan, "loss": 0.9}, "Failed"),
        ([AT_LEAST, AT_MOST], {"accuracy": math.nan}, "Error"),
    ],
)
def test_one_failed_gate_fails_all_else_an_absent_value_leaves_them_open(
    gates: list[Gate], metrics: dict[str, float], verdict: str
) -> None:
    evaluation = evaluate(gates, MeasuredRun(metrics))
    assert evaluation.verdict == verdict
    assert [result.metric for result in evaluation.results] == [gate.metric for gate in gates]


@pytest.mark.parametrize(
    ("gate", "metrics", "told"),
    [
        (AT_LEAST, {"accuracy": 0.9}, "accuracy 0.9 is at least 0.8"),
        (AT_LEAST, {"accuracy": 0.7}, "accuracy 0.7 must be at least 0.8"),
        (AT_LEAST, {}, "accuracy was not logged to the run; it must be at least 0.8"),
        (BETWEEN, {"rate": 0.3}, "rate 0.3 must be at least 0.1 and at most 0.2"),
        (AT_LEAST, {"accuracy": 0.7999999999}, "accuracy 0.7999999999 must be at least 0.8"),
        (Gate(metric="samples", min=1000000), {"samples": 12.0}, "samples 12 must be at least 1000000"),
        (Gate(metric="a", min=0.8123456789), {"a": 0.1}, "a 0.1 must be at least 0.8123456789"),
    ],
)
def test_a_gate_is_told_with_its_value_and_bounds(gate: Gate, metrics: dict[str, float], told: str) -> None:
    assert evaluate([gate], MeasuredRun(metrics)).message == told


def test_results_hold_the_value_where_one_was_logged() -> None:
    results = evaluate([AT_LEAST, AT_MOST], MeasuredRun({"accuracy": 0.91})).results
    assert [(result.value, result.outcome) for result in results] == [
        ("0.91", "Passed"),
        (None, "Inconclusive"),
    ]


RUN_GONE = Problem("RunDeleted", "MLflow has no run r any more")
SAID = Problem("ChampionNotMeasured", "its label is another")


@pytest.mark.parametrize(
    ("run", "outcome", "value", "reason", "message"),
    [
        (MeasuredRun({"accuracy": 0.9}), "Passed", "0.9", None, None),
        (MeasuredRun({"accuracy": 0.7}), "Failed", "0.7", None, None),
        (
            MeasuredRun({}),
            "Inconclusive",
            None,
            "NotLogged",
            "accuracy was not logged to the run; it must be at least 0.8",
        ),
        (
            MeasuredRun({"accuracy": math.nan}),
            "Error",
            "nan",
            "NotANumber",
            "accuracy is not a number; it must be at least 0.8",
        ),
        (
            MeasuredRun({}, problem=RUN_GONE),
            "Error",
            None,
            "RunDeleted",
            "accuracy is not known, MLflow has no run r any more; it must be at least 0.8",
        ),
        # What was known before the run went is judged on.
        (MeasuredRun({"accuracy": 0.9}, problem=RUN_GONE), "Passed", "0.9", None, None),
    ],
)
def test_each_outcome_has_its_value_and_an_open_one_its_reason(
    run: MeasuredRun, outcome: str, value: str | None, reason: str | None, message: str | None
) -> None:
    (result,) = evaluate([AT_LEAST], run).results
    found = (result.outcome, result.value, result.reason, result.message)
    assert found == (outcome, value, reason, message)


@pytest.mark.parametrize(
    ("run", "in_production", "outcome", "reason"),
    [
        (MeasuredRun({"a": 0.9, "champion_a": 0.8}, "1"), "1", "Passed", None),
        (MeasuredRun({"a": 0.8, "champion_a": 0.8}, "1"), "1", "Failed", None),
        (MeasuredRun({}), None, "Passed", None),
        (MeasuredRun({}, problem=RUN_GONE), None, "Passed", None),
        (MeasuredRun({"champion_a": 0.8}, "1"), "1", "Inconclusive", "NotLogged"),
        (MeasuredRun({"a": 0.9}), "1", "Inconclusive", "ChampionNotLogged"),
        (MeasuredRun({"a": 0.9, "champion_a": 0.8}, "1"), "3", "Inconclusive", "ChampionChanged"),
        (MeasuredRun({}, problem=RUN_GONE), "1", "Error", "RunDeleted"),
        (MeasuredRun({"a": 0.9}, problem=RUN_GONE), "1", "Error", "RunDeleted"),
        (MeasuredRun({"a": 0.9}, "1", champion_problem=SAID), "1", "Error", "ChampionNotMeasured"),
        (MeasuredRun({"a": math.nan, "champion_a": 0.8}, "1"), "1", "Error", "NotANumber"),
        (MeasuredRun({"a": 0.9, "champion_a": math.nan}, "1"), "1", "Error", "NotANumber"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_told_apart_from_one_that_was_not(
    run: MeasuredRun, in_production: str | None, outcome: str, reason: str | None
) -> None:
    challenger = Challenger(metric="a", min_improvement=0.05)
    evaluation = with_challenger(evaluate([], run), challenger, run, Rival(in_production))
    (result,) = evaluation.results
    assert (evaluation.verdict, result.outcome, result.reason) == (outcome, outcome, reason)
    assert (result.message is None) == (reason is None)
    assert (result.value is None) == ("a" not in run.metrics)


def test_without_gates_the_message_says_so() -> None:
    assert evaluate([], MeasuredRun({"accuracy": 0.1})).message == "no gates"
