"""Gates: whether what a run measured is good enough for a stage. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlinfra.resources.model_version import MAX_GATE_MESSAGE_LENGTH, GateResult
from mlinfra.resources.promotion import Challenger, Gate
from mlinfra.tracking.contract import CHAMPION_PREFIX
from mlinfra_operator.metrics import decimal
from mlinfra_operator.tracking import MeasuredRun, Problem

Verdict = Literal["Passed", "Failed", "Inconclusive", "Error"]
WORST_FIRST: tuple[Verdict, ...] = ("Failed", "Error", "Inconclusive")
NOT_LOGGED = "NotLogged"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What all gates came to; ``message`` names each with its value and bounds."""

    verdict: Verdict
    results: tuple[GateResult, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Rival:
    """The version that a new one has to beat.

    Attributes:
        in_production: number of the version in Production now; None where there is none.
        was_beaten: whether the new one was in Production already: no comparison keeps it out any more.
    """

    in_production: str | None
    was_beaten: bool = False


def evaluate(gates: Sequence[Gate], run: MeasuredRun) -> Evaluation:
    """Judge the gates: one failed gate fails all; else one that cannot be judged leaves all open.

    A gate is inconclusive where its metric was not logged, and an error where it may have been but cannot
    be read, or is no number.
    """
    judged = [_judged(gate, run) for gate in gates]
    results = tuple(each.result(gate.metric) for gate, each in zip(gates, judged, strict=True))
    told = "; ".join(each.told for each in judged)
    return Evaluation(_worst(each.outcome for each in judged), results, told or "no gates")


def with_challenger(
    evaluation: Evaluation, challenger: Challenger | None, run: MeasuredRun, rival: Rival
) -> Evaluation:
    """The gates' evaluation with the comparison to the version in Production, where one is asked for."""
    if challenger is None:
        return evaluation
    judged = _compared(challenger, run, rival)
    if rival.was_beaten and judged.outcome != "Passed":
        told = f"{challenger.metric} is not compared again: the version was in Production before"
        judged = replace(judged, outcome="Passed", told=told, reason=None)
    message = f"{evaluation.message}; {judged.told}" if evaluation.results else judged.told
    return Evaluation(
        _worst((evaluation.verdict, judged.outcome)),
        (*evaluation.results, judged.result(challenger.metric)),
        message,
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """One gate's outcome; ``reason`` says why there is no verdict, where there is none."""

    outcome: Verdict
    told: str
    value: float | None = None
    champion: float | None = None
    reason: str | None = None

    def result(self, metric: str) -> GateResult:
        open_ = self.outcome in ("Inconclusive", "Error")
        return GateResult(
            metric=metric,
            value=None if self.value is None else decimal(self.value),
            champion_value=None if self.champion is None else decimal(self.champion),
            outcome=self.outcome,
            reason=self.reason,
            message=self.told[:MAX_GATE_MESSAGE_LENGTH] if open_ else None,
        )


def _worst(outcomes: Iterable[Verdict]) -> Verdict:
    found = set(outcomes)
    return next((each for each in WORST_FIRST if each in found), "Passed")


def _judged(gate: Gate, run: MeasuredRun) -> _Judged:
    value = run.metrics.get(gate.metric)
    bounds = " and ".join(
        f"{word} {bound:.15g}"
        for word, bound in (("at least", gate.min), ("at most", gate.max))
        if bound is not None
    )
    unmeasured = _unmeasured(gate.metric, value, run.problem, f"it must be {bounds}")
    if unmeasured is not None:
        return unmeasured
    if value is None:
        raise ValueError("a value that is absent is unmeasured")
    above = gate.min is None or value >= gate.min
    below = gate.max is None or value <= gate.max
    if above and below:
        return _Judged("Passed", f"{gate.metric} {decimal(value)} is {bounds}", value)
    # Rounded to its bound, a value that fails would look as if it passed.
    missed = {decimal(bound) for bound in (gate.min, gate.max) if bound is not None}
    shown = repr(value) if decimal(value) in missed else decimal(value)
    return _Judged("Failed", f"{gate.metric} {shown} must be {bounds}", value)


def _unmeasured(metric: str, value: float | None, problem: Problem | None, wanted: str) -> _Judged | None:
    """Why there is nothing to judge; None where there is."""
    if value is None and problem is not None:
        return _Judged("Error", f"{metric} is not known, {problem.message}; {wanted}", reason=problem.reason)
    if value is None:
        return _Judged("Inconclusive", f"{metric} was not logged to the run; {wanted}", reason=NOT_LOGGED)
    if math.isnan(value):
        return _Judged("Error", f"{metric} is not a number; {wanted}", value, reason="NotANumber")
    return None


def _compared(challenger: Challenger, run: MeasuredRun, rival: Rival) -> _Judged:
    in_production, compared_with = rival.in_production, run.champion
    name, champion_name = challenger.metric, f"{CHAMPION_PREFIX}{challenger.metric}"
    value, champion = run.metrics.get(name), run.metrics.get(champion_name)
    if in_production is None and compared_with is None:
        return _Judged("Passed", "no version in Production to beat", value, champion)
    other = f"version {compared_with or in_production}"
    wanted = f"it is compared with {other}"
    unmeasured = _unmeasured(name, value, run.problem, wanted)
    if unmeasured is not None:
        return replace(unmeasured, champion=champion)
    if value is None:
        raise ValueError("a value that is absent is unmeasured")
    if champion is None or compared_with is None:
        problem = run.champion_problem or run.problem
        if problem is not None:
            told = f"the run could not measure {other}: {problem.message}"
            return _Judged("Error", told, value, champion, problem.reason)
        told = f"the run did not measure {other}: {champion_name} is absent"
        return _Judged("Inconclusive", told, value, champion, "ChampionNotLogged")
    if math.isnan(champion):
        told = f"{champion_name} is not a number"
        return _Judged("Error", told, value, champion, "NotANumber")
    if in_production not in (None, compared_with):
        told = f"the run was compared with {other}, and version {in_production} is in Production by now"
        return _Judged("Inconclusive", told, value, champion, "ChampionChanged")
    gain = value - champion if challenger.goal == "Maximize" else champion - value
    least = challenger.min_improvement
    told = f"{name} {decimal(value)} against {decimal(champion)} of {other}"
    if gain >= least:
        return _Judged("Passed", told, value, champion)
    return _Judged("Failed", f"{told}: better by {gain:.6g}, and must be by {least:.6g}", value, champion)
