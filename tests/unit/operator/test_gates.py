"""Gates: which verdict bounds and values come to, and how it is told."""

import math

import pytest

from mlinfra.resources.promotion import Gate
from mlinfra_operator.modelversion.gates import evaluate

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
        ([AT_LEAST], {"accuracy": math.nan}, "Failed"),
        ([AT_LEAST], {"accuracy": math.inf}, "Passed"),
        ([AT_MOST], {"loss": 0.5}, "Passed"),
        ([AT_MOST], {"loss": 0.51}, "Failed"),
        ([BETWEEN], {"rate": 0.1}, "Passed"),
        ([BETWEEN], {"rate": 0.2}, "Passed"),
        ([BETWEEN], {"rate": 0.21}, "Failed"),
        ([AT_LEAST, AT_MOST], {"accuracy": 0.9, "loss": 0.1}, "Passed"),
        ([AT_LEAST, AT_MOST], {"accuracy": 0.9}, "Inconclusive"),
        ([AT_LEAST, AT_MOST], {"loss": 0.9}, "Failed"),
    ],
)
def test_one_failed_gate_fails_all_else_an_absent_value_leaves_them_open(
    gates: list[Gate], metrics: dict[str, float], verdict: str
) -> None:
    evaluation = evaluate(gates, metrics)
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
    assert evaluate([gate], metrics).message == told


def test_results_hold_the_value_where_one_was_logged() -> None:
    results = evaluate([AT_LEAST, AT_MOST], {"accuracy": 0.91}).results
    assert [(result.value, result.outcome) for result in results] == [
        ("0.91", "Passed"),
        (None, "Inconclusive"),
    ]


def test_without_gates_the_message_says_so() -> None:
    assert evaluate([], {"accuracy": 0.1}).message == "no gates"
