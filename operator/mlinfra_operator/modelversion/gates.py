"""Gates: whether what a run measured is good enough for a stage. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlinfra.resources.model_version import GateResult
from mlinfra.resources.promotion import Gate
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
