"""Trains models on what was known at a time, by the trainer that trains for real, and lets them answer.

The trainer is deterministic: the same rows and configuration give the same model, so it is trained once,
however many policies ask for it.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mlinfra.errors import InvalidInputError
from mlinfra.monitoring.profile import ReferenceProfile
from mlinfra.training.champion import align_classes
from mlinfra.training.config import TrainingConfig
from mlinfra.training.epochs import Epoch
from mlinfra.training.evaluation import Evaluation
from mlinfra.training.folds import evaluate_fold, prepare, train_folds
from mlinfra.training.objective import Objective
from mlinfra.training.reference import reference_profile
from mlinfra.training.rows import LabelledRows, RowKeys, labelled_rows
from mlinfra.training.runtime import Runtime
from mlinfra.training.samples import Part, Samples, window_ends
from mlinfra.training.trainer import predict

Moment = np.datetime64


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """A model, and its answers to every row of the group, those long after its training as well.

    Attributes:
        number: counts the models that were trained, from 1.
        learnt_until: time of the newest row that it was trained, validated or tested on.
        test_rows: positions of the rows it was tested on.
        answers: what the served form says, (rows, outputs); NaN where a row ends no whole window.
        evaluation: its measures on the test rows.
        objective: what it learnt.
        profile: its reference profile.
        outputs: which of the columns of ``answers`` are of its own classes, in its order.
    """

    number: int
    learnt_until: Moment
    test_rows: NDArray[np.int64]
    answers: NDArray[np.float32]
    evaluation: Evaluation
    objective: Objective
    profile: ReferenceProfile
    outputs: tuple[int, ...]


@dataclass(slots=True)
class Learner:
    """Trains on the rows up to a time.

    Args:
        config: what to learn, and how; its dates do not count.
        frame: all rows of the group with their labels.
        keys: which columns are the time and the entity.
        training_days: how many days of rows a training sees; all where None.
    """

    config: TrainingConfig
    frame: pd.DataFrame
    keys: RowKeys
    training_days: int | None = None
    rows: LabelledRows = field(init=False)
    trained: dict[bytes, Learnt] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = labelled_rows(self.frame, self.config.data, self.keys)
        # In the order of the rows as arrays: a part of the frame is then the same part of the arrays.
        self.frame = self.frame.sort_values(self.keys.columns(), kind="stable", ignore_index=True)

    @property
    def first(self) -> Learnt:
        """The model that was trained first."""
        return next(iter(self.trained.values()))

    def learn(self, known_until: Moment) -> Learnt:
        """The model of all rows whose time is not after ``known_until``.

        Raises:
            InvalidInputError: there are too few rows, or they hold one class only.
        """
        oldest = self.rows.time.min()
        if self.training_days is not None:
            oldest = known_until - np.timedelta64(self.training_days, "D")
        seen = np.flatnonzero((self.rows.time <= known_until) & (self.rows.time >= oldest))
        if not len(seen):
            first = self.rows.time.min().astype("datetime64[D]")
            raise InvalidInputError(
                f"of no row is the label known by {known_until.astype('datetime64[D]')}: the rows to learn "
                f"from begin {first}. Give a later date to train until, or a shorter label delay."
            )
        key = seen.tobytes()
        if key not in self.trained:
            self.trained[key] = self._train(seen)
        return self.trained[key]

    def scores(self, model: Learnt, rows: NDArray[np.int64], judge: Learnt) -> dict[str, float]:
        """Measures of a model's answers on rows, as the objective of another one tells them."""
        answers = model.answers[rows]
        answered = ~np.isnan(answers).any(axis=1)
        return judge.objective.measures(answers[answered], self.rows.label[rows][answered])

    def _train(self, seen: NDArray[np.int64]) -> Learnt:
        runtime = Runtime(torch.device("cpu"))
        preparation = prepare(self.config, self.frame.iloc[seen], self.keys)
        for fold in train_folds(preparation, runtime=runtime, on_epoch=_tell_nobody):
            newest = fold
        predictions, evaluation = evaluate_fold(newest, self.config, device=runtime.device)
        samples = newest.samples
        own = [self.rows.classes.index(each) for each in samples.rows.classes] or [0]
        return Learnt(
            number=len(self.trained) + 1,
            learnt_until=self.rows.time[seen].max(),
            test_rows=seen[samples.test.last_rows],
            answers=self._answers(newest.served, newest.objective, samples),
            evaluation=evaluation,
            objective=newest.objective,
            profile=reference_profile(samples, predictions, evaluation, model_name=""),
            outputs=tuple(own),
        )

    def _answers(
        self, served: torch.nn.Module, objective: Objective, samples: Samples
    ) -> NDArray[np.float32]:
        rows, window = self.rows, samples.window
        last = window_ends(rows.entity, window)
        part = Part(last, rows.time[last].min(), rows.time[last].max())
        everything = Samples(rows, window, part, part, part, samples.mean, samples.scale)
        answers = predict(served, everything, part, objective, device=torch.device("cpu"))
        if rows.classes:
            answers = align_classes(answers, samples.rows.classes, rows.classes)
        result = np.full((len(rows.time), answers.shape[1]), np.nan, dtype=np.float32)
        result[last] = answers
        return result


def _tell_nobody(_epoch: Epoch) -> None:
    """Where nobody wants to be told of an epoch."""
