"""A replay beside what else could have been done: the first version for ever, and training each year."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.models.learnt import LearntModel
from mlinfra.retraining.backtest.learner import Learner
from mlinfra.retraining.backtest.policies import built_in
from mlinfra.retraining.backtest.replay import Decision, Replay, ReplaySettings, Returned, replay
from mlinfra.retraining.live.replay import Replayed
from mlinfra.retraining.live.traffic import Answer
from mlinfra.retraining.triggers import Request, RetrainingTrigger
from mlinfra.training.champion import align_classes
from mlinfra.training.samples import windows_ending_at

if TYPE_CHECKING:
    import onnx

FROZEN, SERVED, YEARLY = "frozen", "as served", "yearly"


def served_replay(
    replayed: Replayed,
    answers: Mapping[int, Answer],
    learner: Learner,
    rows: NDArray[np.int64],
    classes: Sequence[Any],
) -> Replay:
    """What was served, as a backtest tells of a replay.

    Args:
        replayed: the trainings and rollbacks.
        answers: by position among the rows that were asked about.
        learner: has the group.
        rows: positions of those rows in the group.
        classes: of the outputs of each version.
    """
    numbers = range(len(rows))
    outputs = np.stack([answers[number].outputs for number in numbers])
    return Replay(
        policy=SERVED,
        decisions=tuple(
            Decision(
                each.time,
                Request(RetrainingTrigger(each.trigger), each.job, each.message),
                int(each.version) if each.version is not None else None,
                each.new,
                each.old,
                each.promoted,
                each.reason,
                each.new is not None and (each.old is None or each.new > each.old),
            )
            for each in replayed.retrainings
        ),
        rollbacks=tuple(Returned(each.time, each.message) for each in replayed.rollbacks),
        rows=rows,
        answers=align_classes(outputs, classes, learner.rows.classes),
        by=np.array([int(answers[number].version) for number in numbers], np.int64),
    )


def frozen_replay(
    model: "onnx.ModelProto", learnt: LearntModel, learner: Learner, rows: NDArray[np.int64]
) -> Replay:
    """What the first version would have answered to all of it, by ONNX Runtime."""
    from mlinfra.models.onnx_export import run_onnx

    windows = windows_ending_at(learner.rows.features, rows, learnt.window)
    answers = align_classes(run_onnx(model, windows), learnt.classes, learner.rows.classes)
    return Replay(FROZEN, (), (), rows, answers, np.ones(len(rows), np.int64))


def yearly_replay(learner: Learner, settings: ReplaySettings) -> Replay:
    """What training each year would have come to, by the backtest."""
    found = replay(built_in("scheduled"), learner, settings)
    return Replay(YEARLY, found.decisions, found.rollbacks, found.rows, found.answers, found.by)


def accuracy(replay: Replay, learner: Learner, *, since: datetime) -> float:
    """Share of the rows after a time that were answered right."""
    label = learner.rows.label[replay.rows]
    chosen = learner.rows.time[replay.rows] > np.datetime64(since.replace(tzinfo=None))
    right = replay.answers.argmax(axis=1) == label
    return float(right[chosen].mean()) if chosen.any() else float("nan")
