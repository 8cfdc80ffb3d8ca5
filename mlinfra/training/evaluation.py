"""How good predictions are on rows the network never saw, beside answers that need no learning."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.training.baselines import last_known
from mlinfra.training.errors import TrainingDivergedError
from mlinfra.training.objective import Objective, PrimaryMetric
from mlinfra.training.rows import LabelledRows
from mlinfra.training.samples import Part

TEST_PREFIX = "test_"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures on one part of the samples.

    Attributes:
        primary: the measure that decides.
        measures: of the model, by name without a prefix; see `mlinfra.training.measures`.
        baselines: of answers that need no learning, by the prefix of their metric keys. ``baseline`` is the
            one to beat: for classes these samples' most frequent one, the best that a constant answer can
            reach; for values the last known one. ``last_value`` and ``mean`` are the others.
    """

    primary: PrimaryMetric
    measures: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]

    @property
    def score(self) -> float:
        """The primary measure of the model."""
        return self.measures[self.primary.name]

    @property
    def baseline_score(self) -> float:
        """The primary measure of the baseline to beat."""
        return self.baselines["baseline"][self.primary.name]

    @property
    def beats_baseline(self) -> bool:
        """Whether the model's primary measure is better than the baseline's."""
        return self.primary.is_better(self.score, self.baseline_score)

    def test_metrics(self) -> dict[str, float]:
        """All measures under the keys that gates and registry read."""
        return {f"{TEST_PREFIX}{name}": value for name, value in self.measures.items()} | {
            f"{baseline}_{TEST_PREFIX}{name}": value
            for baseline, measures in self.baselines.items()
            for name, value in measures.items()
        }


def evaluate(
    predictions: NDArray[np.float32], objective: Objective, rows: LabelledRows, part: Part, *, embargo: int
) -> Evaluation:
    """Measure the predictions for a part of the samples.

    Args:
        predictions: what the served form answers, (samples, outputs).
        objective: what was learnt.
        rows: all rows; the part's are among them.
        part: the samples predicted.
        embargo: how many rows the label looks ahead.

    Raises:
        TrainingDivergedError: a prediction is not a number.
    """
    if not np.isfinite(predictions).all():
        bad = int((~np.isfinite(predictions)).any(axis=1).sum())
        raise TrainingDivergedError(
            f"The network answers {bad} of {len(predictions)} test samples with no number. "
            "Try a smaller learning rate, or look for extreme feature values in the test dates."
        )
    label: NDArray[Any] = rows.label[part.last_rows]
    known, where = last_known(rows.label, rows.entity, part.last_rows, embargo=embargo)
    answers = objective.baseline_answers(label, last_known=known, where_known=where)
    return Evaluation(
        primary=objective.primary,
        measures=objective.measures(predictions, label),
        baselines={
            name: {
                measure: value
                for measure, value in objective.measures(answer, label).items()
                if measure in objective.baseline_measures
            }
            for name, answer in answers.items()
        },
    )
