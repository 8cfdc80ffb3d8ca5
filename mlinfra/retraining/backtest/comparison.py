"""What policies would have done, beside each other: how often they trained, and how good the answers were."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.retraining.backtest.learner import Learner
from mlinfra.retraining.backtest.replay import Replay
from mlinfra.retraining.backtest.traffic import moment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_ROWS = 20
"""A year of fewer rows says nothing of how good a model is in it."""
SHOWN = ("accuracy", "balanced_accuracy", "roc_auc", "mae", "rmse")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy's replay came to.

    Attributes:
        policy: its name.
        trainings: how many it asked for.
        promoted: how many of them took Production.
        rollbacks: how many were taken back.
        false_alarms: trainings whose model was no better than the one in Production on the newest rows.
        measures: of all answers, by name.
        metric: the measure that decides.
        years: that measure in each year.
        higher_is_better: whether more of it is better.
    """

    policy: str
    trainings: int
    promoted: int
    rollbacks: int
    false_alarms: int
    measures: dict[str, float]
    metric: str
    years: dict[int, float]
    higher_is_better: bool

    @property
    def worst(self) -> tuple[int, float] | None:
        """The year with the poorest answers, and its measure."""
        choose = min if self.higher_is_better else max
        return choose(self.years.items(), key=lambda pair: pair[1]) if self.years else None

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        worst = self.worst
        return {
            "policy": self.policy,
            "trainings": self.trainings,
            "promoted": self.promoted,
            "rollbacks": self.rollbacks,
            "falseAlarms": self.false_alarms,
            "metric": self.metric,
            "measures": self.measures,
            "years": {str(year): value for year, value in self.years.items()},
            "worstYear": worst[0] if worst else None,
        }


def outcome_of(replay: Replay, learner: Learner) -> Outcome:
    """Measure the answers of a replay against the labels, all of which are known by now."""
    objective = learner.first.objective
    label = learner.rows.label[replay.rows]
    year = learner.rows.time[replay.rows].astype("datetime64[Y]").astype(np.int64) + 1970
    name = objective.primary.name
    years = {
        int(each): objective.measures(replay.answers[year == each], label[year == each])[name]
        for each in np.unique(year)
        if (year == each).sum() >= LEAST_ROWS
    }
    measures = objective.measures(replay.answers, label)
    return Outcome(
        policy=replay.policy,
        trainings=len(replay.decisions),
        promoted=sum(each.promoted for each in replay.decisions),
        rollbacks=len(replay.rollbacks),
        false_alarms=replay.false_alarms,
        measures={each: measures[each] for each in SHOWN if each in measures},
        metric=name,
        years=years,
        higher_is_better=objective.primary.higher_is_better,
    )


def most_frequent(replay: Replay, learner: Learner) -> float | None:
    """Accuracy of always answering the most frequent class; None where there are no classes."""
    label = learner.rows.label[replay.rows]
    return float(np.bincount(label).max() / len(label)) if learner.rows.classes else None


def decisions_to_wire(replay: Replay) -> list[dict[str, Any]]:
    """Each training of a replay as JSON: when, why, and what came of it."""
    return [
        {
            "time": each.time.isoformat(),
            "trigger": each.request.trigger.value,
            "message": each.request.message,
            "evidence": [result.to_wire() for result in each.request.evidence],
            "score": each.score,
            "championScore": each.champion_score,
            "promoted": each.promoted,
            "reason": each.reason,
        }
        for each in replay.decisions
    ]


def comparison_figure(replays: list[Replay], learners: list[Learner]) -> "Figure":
    """The deciding measure of each policy over time, with its trainings: filled where the model took over.

    Args:
        replays: what the policies did.
        learners: which of them trained for each.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 1.2 + 1.5 * len(replays)), layout="constrained")
    panels = figure.subplots(len(replays), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, replay, learner in zip(panels, replays, learners, strict=True):
        times, values = _quarters(replay, learner)
        axes.plot(times, values, color="#1f5fa8", linewidth=1.5)
        for decision in replay.decisions:
            style = "-" if decision.promoted else ":"
            axes.axvline(decision.time.replace(tzinfo=None), color="#d9730d", linestyle=style, linewidth=1)
        axes.set_ylabel(learner.first.objective.primary.name)
        axes.set_title(f"{replay.policy}: {len(replay.decisions)} trainings", loc="left", fontsize=10)
        axes.grid(alpha=0.3)
    return figure


def _quarters(replay: Replay, learner: Learner) -> tuple[list[Any], list[float]]:
    objective, label = learner.first.objective, learner.rows.label[replay.rows]
    time: NDArray[np.datetime64] = learner.rows.time[replay.rows]
    quarter = time.astype("datetime64[M]").astype(np.int64) // 3
    times, values = [], []
    for each in np.unique(quarter):
        chosen = quarter == each
        if chosen.sum() >= LEAST_ROWS:
            times.append(moment(time[chosen][0]).replace(tzinfo=None))
            measures = objective.measures(replay.answers[chosen], label[chosen])
            values.append(measures[objective.primary.name])
    return times, values
