"""Gates: whether what a run measured is good enough for a stage. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlinfra.resources.model_version import GateResult
from mlinfra.resources.promotion import Challenger, Gate
from mlinfra.tracking.contract import CHAMPION_PREFIX
from mlinfra_operator.metrics import decimal

Verdict = Literal["Passed", "Failed", "Inconclusive"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What all gates came to; ``message`` names each with its value and bounds."""

    verdict: Verdict
    results: tuple[GateResult, ...]
    message: str


def evaluate(gates: Sequence[Gate], metrics: Mapping[str, float]) -> Evaluation:
    """Judge the gates: one failed gate fails all, else one without a value leaves them inconclusive."""
    outcomes = [_outcome(gate, metrics.get(gate.metric)) for gate in gates]
    verdict: Verdict = "Passed"
    if "Failed" in outcomes:
        verdict = "Failed"
    elif "Inconclusive" in outcomes:
        verdict = "Inconclusive"
    results = tuple(
        GateResult(
            metric=gate.metric,
            value=decimal(metrics[gate.metric]) if gate.metric in metrics else None,
            outcome=outcome,
        )
        for gate, outcome in zip(gates, outcomes, strict=True)
    )
    told = [
        _told(gate, metrics.get(gate.metric), outcome) for gate, outcome in zip(gates, outcomes, strict=True)
    ]
    return Evaluation(verdict, results, "; ".join(told) or "no gates")


@dataclass(frozen=True, slots=True)
class Rival:
    """The version that a new one has to beat.

    Attributes:
        in_production: number of the version in Production now; None where there is none.
        compared_with: number of the version that the run measured beside its own; None where it did not.
    """

    in_production: str | None
    compared_with: str | None


def with_challenger(
    evaluation: Evaluation, challenger: Challenger | None, metrics: Mapping[str, float], rival: Rival
) -> Evaluation:
    """The gates' evaluation with the comparison to the version in Production, where one is asked for."""
    if challenger is None:
        return evaluation
    name, champion_name = challenger.metric, f"{CHAMPION_PREFIX}{challenger.metric}"
    value, champion = metrics.get(name), metrics.get(champion_name)
    outcome, told = _compared(challenger, value, champion, rival)
    result = GateResult(
        metric=name,
        value=decimal(value) if value is not None else None,
        champion_value=decimal(champion) if champion is not None else None,
        outcome=outcome,
    )
    verdicts = (evaluation.verdict, outcome)
    verdict: Verdict = next((each for each in ("Failed", "Inconclusive") if each in verdicts), "Passed")
    message = f"{evaluation.message}; {told}" if evaluation.results else told
    return Evaluation(verdict, (*evaluation.results, result), message)


def _compared(
    challenger: Challenger, value: float | None, champion: float | None, rival: Rival
) -> tuple[Verdict, str]:
    if rival.in_production is None and rival.compared_with is None:
        return "Passed", "no version in Production to beat"
    other = f"version {rival.compared_with or rival.in_production}"
    if value is None:
        return "Inconclusive", f"{challenger.metric} was not logged to the run"
    if champion is None or rival.compared_with is None:
        return (
            "Inconclusive",
            f"the run did not measure {other}: {CHAMPION_PREFIX}{challenger.metric} is absent",
        )
    if rival.in_production not in (None, rival.compared_with):
        return (
            "Inconclusive",
            f"the run was compared with {other}, and version {rival.in_production} is in Production by now",
        )
    gain = value - champion if challenger.goal == "Maximize" else champion - value
    least = challenger.min_improvement
    told = f"{challenger.metric} {decimal(value)} against {decimal(champion)} of {other}"
    if gain >= least:
        return "Passed", told
    return "Failed", f"{told}: better by {gain:.6g}, and must be by {least:.6g}"


def _outcome(gate: Gate, value: float | None) -> Verdict:
    if value is None:
        return "Inconclusive"
    if math.isnan(value):
        return "Failed"
    above = gate.min is None or value >= gate.min
    below = gate.max is None or value <= gate.max
    return "Passed" if above and below else "Failed"


def _told(gate: Gate, value: float | None, outcome: Verdict) -> str:
    bounds = " and ".join(
        f"{word} {bound:.15g}"
        for word, bound in (("at least", gate.min), ("at most", gate.max))
        if bound is not None
    )
    if value is None:
        return f"{gate.metric} was not logged to the run; it must be {bounds}"
    if outcome == "Passed":
        return f"{gate.metric} {decimal(value)} is {bounds}"
    # Rounded to its bound, a value that fails would look as if it passed.
    missed = {decimal(bound) for bound in (gate.min, gate.max) if bound is not None}
    shown = repr(value) if decimal(value) in missed else decimal(value)
    return f"{gate.metric} {shown} must be {bounds}"
