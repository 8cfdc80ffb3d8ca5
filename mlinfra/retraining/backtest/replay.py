"""Replays a feature group as traffic through the decision and the trainer, row after row in event time.

Nothing is seen before its time: a row's features at its event time, its label only the label delay later,
by the monitors as by the trainings. A training takes no time of the replay: the model it promotes answers
from the next row on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from mlinfra.errors import InvalidInputError, MlinfraError
from mlinfra.resources.monitoring import LOWER_IS_BETTER
from mlinfra.resources.promotion import Gate
from mlinfra.retraining.assessment import assess, performance_to_check, trigger_rules
from mlinfra.retraining.backtest.learner import Learner, Learnt
from mlinfra.retraining.backtest.policies import Policy
from mlinfra.retraining.backtest.traffic import Traffic, chunking_for, moment
from mlinfra.retraining.decision import Start, Training, came_to, decide
from mlinfra.retraining.observation import Watch
from mlinfra.retraining.triggers import MonitorResult, Request, RetrainingTrigger
from mlinfra.training.champion import ChampionScore
from mlinfra.training.promotion import PromotionDecision, PromotionRule, decide_promotion, unmet_gate

MIN_IMPROVEMENT = 0.001
"""How much better a challenger must be where nobody says: an equal one is no reason to switch."""


class NothingToReplayError(InvalidInputError):
    """No row lies in the time to replay."""

    reason = "NothingToReplay"


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """What is replayed.

    Attributes:
        train_until: the first model learns from rows whose labels are known by then; later rows are traffic.
        until: end of the traffic; that of the group where None.
        label_delay: how long after its row a label is known.
        check_every: how often the monitors are asked, in event time.
        promotion: what a challenger must reach, beside being as good as the champion on the newest rows.
        gates: bounds on its test metrics.
    """

    train_until: datetime
    until: datetime | None = None
    label_delay: timedelta = timedelta(0)
    check_every: timedelta = timedelta(days=1)
    promotion: PromotionRule = field(default_factory=lambda: PromotionRule(0.0, MIN_IMPROVEMENT))
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """A training that a policy asked for in the replay, and what came of it.

    Attributes:
        time: when.
        request: what asked for it, with the monitors' results.
        challenger: number of the model that was trained; None where the training failed.
        score: the challenger's primary measure on the newest rows.
        champion_score: that of the model in Production on the same rows.
        promoted: whether it took Production.
        reason: why, or why not.
        better: whether the challenger was strictly better there: a training without is a false alarm.
    """

    time: datetime
    request: Request
    challenger: int | None
    score: float | None
    champion_score: float | None
    promoted: bool
    reason: str
    better: bool


@dataclass(frozen=True, slots=True)
class Returned:
    """A rollback in the replay."""

    time: datetime
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What a policy did.

    Attributes:
        policy: its name.
        decisions: the trainings it asked for.
        rollbacks: the versions it took back.
        rows: positions of the replayed rows, in order of time.
        answers: what was answered to each, (rows, outputs).
        by: number of the model that did, (rows,).
    """

    policy: str
    decisions: tuple[Decision, ...]
    rollbacks: tuple[Returned, ...]
    rows: NDArray[np.int64]
    answers: NDArray[np.float32]
    by: NDArray[np.int64]

    @property
    def false_alarms(self) -> int:
        """Trainings whose challenger was not better than the champion on the newest rows."""
        return sum(not decision.better for decision in self.decisions)


def replay(policy: Policy, learner: Learner, settings: ReplaySettings) -> Replay:
    """What a policy would have done.

    Raises:
        NothingToReplayError: no row is between the two times.
        InvalidInputError: the first model cannot be trained.
    """
    return _Replayer(policy, learner, settings).run()


class _Replayer:
    """The state of one replay."""

    def __init__(self, policy: Policy, learner: Learner, settings: ReplaySettings) -> None:
        self._policy, self._learner, self._settings = policy, learner, settings
        spec, rows = policy.spec, learner.rows
        self._performance = performance_to_check(spec.drift, spec.performance)
        self._rules = trigger_rules(spec.drift, spec.performance)
        self._chunking = chunking_for(spec.drift, self._performance)
        self._start = _wall(settings.train_until)
        later = rows.time > self._start
        if settings.until is not None:
            later &= rows.time <= _wall(settings.until)
        if settings.until is not None and settings.until <= settings.train_until:
            raise NothingToReplayError(
                f"the traffic ends before it begins: give a later end than {settings.train_until:%Y-%m-%d}, "
                "the date to train until."
            )
        if not later.any():
            raise NothingToReplayError(
                f"no row is after {settings.train_until:%Y-%m-%d}: the group's rows end "
                f"{moment(rows.time.max()):%Y-%m-%d}. Give an earlier date to train until."
            )
        whole = ~np.isnan(self._first().answers).any(axis=1)
        in_time = np.argsort(rows.time, kind="stable")
        self._order = in_time[(later & whole)[in_time]]
        if not len(self._order):
            raise NothingToReplayError(
                f"no row after {settings.train_until:%Y-%m-%d} ends a window of "
                f"{learner.config.data.window_length} rows of its entity"
            )
        self._times = rows.time[self._order]
        self._answers = np.full((len(self._order), self._first().answers.shape[1]), np.nan, dtype=np.float32)
        self._by = np.zeros(len(self._order), dtype=np.int64)
        self._trainings: list[Training] = []
        self._decisions: list[Decision] = []
        self._rollbacks: list[Returned] = []
        self._scheduled = settings.train_until
        self._watch = Watch()
        self._last_performance: MonitorResult | None = None
        self._previous: Learnt | None = None

    def run(self) -> Replay:
        """From the first row to the last."""
        self._serve(self._first(), position=0)
        for position, now in self._checks():
            self._step(position, now)
        return Replay(
            policy=self._policy.name,
            decisions=tuple(self._decisions),
            rollbacks=tuple(self._rollbacks),
            rows=self._order,
            answers=self._answers,
            by=self._by,
        )

    def _first(self) -> Learnt:
        return self._learner.learn(self._start - np.timedelta64(self._settings.label_delay))

    def _checks(self) -> Iterator[tuple[int, np.datetime64]]:
        """How many rows were answered at each check, and its time."""
        due = self._times[0]
        last = np.flatnonzero(np.append(self._times[1:] != self._times[:-1], True))
        for position in last:
            now = self._times[position]
            if now >= due:
                yield int(position) + 1, now
                due = now + np.timedelta64(self._settings.check_every) - np.timedelta64(6, "h")

    def _serve(self, model: Learnt, *, position: int) -> None:
        """Let a model answer from a position of the replayed rows on."""
        self._traffic = Traffic(model, self._learner.rows, self._order[position:], self._chunking)
        self._answers[position:] = model.answers[self._order[position:]]
        self._by[position:] = model.number

    def _step(self, position: int, now: np.datetime64) -> None:
        results = self._checked(now)
        time = moment(now)
        if self._rolled_back(position, time):
            return
        requests = [*self._due(time)]
        asked = assess(results, self._rules).request
        if asked is not None and not self._policy.spec.suspend:
            requests.append(asked)
        decided = decide(self._watch.allowed(requests), self._trainings, self._policy.limits, time)
        if isinstance(decided, Start):
            self._train(decided.request, position, now)

    def _checked(self, now: np.datetime64) -> list[MonitorResult]:
        drift, performance = self._policy.spec.drift, self._performance
        if drift is None and performance is None:
            return []
        known = now - np.timedelta64(self._settings.label_delay)
        results = self._traffic.checked(drift, performance, now=now, labelled_until=known)
        self._last_performance = next(
            (each for each in results if each.trigger is RetrainingTrigger.PERFORMANCE), None
        )
        return results

    def _due(self, now: datetime) -> Iterator[Request]:
        schedule = self._policy.schedule
        if schedule is None or self._policy.spec.suspend:
            return
        if (due := schedule.latest(now, after=self._scheduled)) is not None:
            yield Request(RetrainingTrigger.SCHEDULED, due.isoformat(), f"scheduled for {due:%Y-%m-%d}", due)

    def _rolled_back(self, position: int, time: datetime) -> bool:
        rule, performance = self._policy.observation, self._performance
        if rule is None or performance is None or self._previous is None:
            return False
        better_high = performance.metric not in LOWER_IS_BETTER
        self._watch, rollback = self._watch.observed(
            self._last_performance, rule=rule, higher_is_better=better_high, now=time
        )
        if rollback is None:
            return False
        self._rollbacks.append(Returned(time, rollback.message))
        self._serve(self._previous, position=position)
        return True

    def _train(self, request: Request, position: int, now: np.datetime64) -> None:
        time, champion = moment(now), self._traffic.model
        baseline = self._last_performance
        if request.trigger is RetrainingTrigger.SCHEDULED:
            self._scheduled = time
        self._watch = self._watch.started(request)
        reached = max((each.window_end for each in request.evidence), default=None)
        name = f"{self._policy.name}-{len(self._trainings) + 1}"
        self._trainings.append(Training(name, time, active=False, events_until=reached))
        try:
            challenger = self._learner.learn(now - np.timedelta64(self._settings.label_delay))
        except MlinfraError as error:
            self._came_to(request, promoted=False)
            self._decisions.append(Decision(time, request, None, None, None, False, str(error), False))
            return
        decision, score, theirs, better = self._compared(challenger, champion)
        self._came_to(request, promoted=decision.promoted)
        self._decisions.append(
            Decision(
                time, request, challenger.number, score, theirs, decision.promoted, decision.reason, better
            )
        )
        if not decision.promoted:
            return
        self._previous = champion
        self._serve(challenger, position=position)
        if self._policy.observation is not None:
            self._watch = self._watch.promoted(
                str(challenger.number),
                previous=str(champion.number),
                baseline=baseline,
                rule=self._policy.observation,
                now=time,
            )

    def _came_to(self, request: Request, *, promoted: bool) -> None:
        """The newest training has come to its end."""
        fruitless = came_to(request.trigger, promoted=promoted)
        self._trainings[-1] = replace(self._trainings[-1], fruitless=fruitless)

    def _compared(
        self, challenger: Learnt, champion: Learnt
    ) -> tuple[PromotionDecision, float, float | None, bool]:
        """The challenger against the champion on the same newest rows."""
        evaluation = challenger.evaluation
        measures = self._learner.scores(champion, challenger.test_rows, judge=challenger)
        theirs = measures.get(evaluation.primary.name)
        better = theirs is None or evaluation.primary.is_better(evaluation.score, theirs)
        if challenger is champion:
            decision = PromotionDecision(False, "the same rows gave the same model")
        elif unmet := unmet_gate(self._settings.gates, evaluation.test_metrics()):
            decision = PromotionDecision(False, unmet)
        else:
            version = str(champion.number)
            decision = decide_promotion(
                evaluation,
                rule=self._settings.promotion,
                champion=ChampionScore(version, measures),
                in_production=version,
            )
        return decision, evaluation.score, theirs, better


def _wall(time: datetime) -> np.datetime64:
    """A time as the rows have it: UTC without a zone."""
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None))
