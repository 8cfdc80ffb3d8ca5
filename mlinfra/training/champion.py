"""The champion: the model in Production, scored on the rows that test its challenger.

A champion is loaded as ONNX only, and sees its own features over its own window, as its metadata tell.
Where it cannot be scored the reason is kept instead, and the training goes on: a broken model in
Production is no reason to train no better one.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlinfra.errors import MlinfraError
from mlinfra.models.learnt import LearntModel, learnt_model
from mlinfra.resources.built_in_training import TrainingData
from mlinfra.tracking.contract import CHAMPION_PREFIX, CHAMPION_PROBLEM_TAG, CHAMPION_TAG
from mlinfra.tracking.tracker import MlflowTracker
from mlinfra.training.errors import IncomparableChampionError
from mlinfra.training.evaluation import TEST_PREFIX
from mlinfra.training.objective import Objective
from mlinfra.training.rows import RowKeys, labelled_rows
from mlinfra.training.samples import Samples, window_ends, windows_ending_at

if TYPE_CHECKING:
    import onnx

logger = logging.getLogger(__name__)

SAMPLES_AT_ONCE = 1024
MAX_PROBLEM_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class Champion:
    """The version in Production when a training begins.

    Attributes:
        version: its number.
        model: the graph; None where it cannot be loaded.
        learnt: what it was trained on; None where it cannot be loaded.
        problem: why it cannot be loaded.
    """

    version: str
    model: "onnx.ModelProto | None" = None
    learnt: LearntModel | None = None
    problem: str | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The columns it sees."""
        return self.learnt.features if self.learnt else ()


@dataclass(frozen=True, slots=True)
class ChampionScore:
    """How good the champion is on the challenger's test rows.

    Attributes:
        version: its number.
        measures: by name, such as ``accuracy``; empty where it could not be scored.
        problem: why it could not be scored.
    """

    version: str
    measures: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None

    def run_metrics(self) -> dict[str, float]:
        """The measures under the keys that the challenger's run has them."""
        return {f"{CHAMPION_PREFIX}{TEST_PREFIX}{name}": value for name, value in self.measures.items()}


def find_champion(tracker: MlflowTracker, model_name: str) -> Champion | None:
    """Load the version of ``model_name`` in Production; None where there is none."""
    version = tracker.production_version(model_name)
    if version is None:
        return None
    try:
        model = tracker.load_onnx_model(f"models:/{model_name}/{version}")
        learnt = learnt_model({entry.key: entry.value for entry in model.metadata_props})
    except MlinfraError as error:
        return Champion(version, problem=_told(version, error))
    return Champion(version, model=model, learnt=learnt)


def score_champion(
    champion: Champion,
    frame: pd.DataFrame,
    samples: Samples,
    objective: Objective,
    *,
    data: TrainingData,
    keys: RowKeys,
) -> ChampionScore:
    """Let the champion predict every test sample of its challenger.

    Args:
        champion: as `find_champion` gives it.
        frame: the rows that the challenger learns from, with the champion's features.
        samples: the challenger's.
        objective: the challenger's.
        data: what the challenger learns from.
        keys: which columns of the frame are the time and the entity.
    """
    if champion.model is None or champion.learnt is None:
        return ChampionScore(champion.version, problem=champion.problem)
    learnt, label = champion.learnt, samples.rows.label[samples.test.last_rows]
    try:
        _refuse_other_task(learnt, samples, data)
        windows = _windows(learnt, frame, samples, data=data, keys=keys)
        predictions = np.concatenate(list(_predictions(champion.model, windows, learnt)))
        if learnt.classes:
            predictions = align_classes(predictions, learnt.classes, samples.rows.classes)
        return ChampionScore(champion.version, objective.measures(predictions, label))
    except Exception as error:  # whatever a foreign graph does to its runtime is told, and ends nothing
        return ChampionScore(champion.version, problem=_told(champion.version, error))


def log_champion(tracker: MlflowTracker, score: ChampionScore | None) -> None:
    """Tag the run with the champion's version, and with why it has no metrics."""
    if score is None and tracker.attempt == 1:
        return
    # What an earlier attempt of the run said does not stand.
    tracker.set_tags(
        {
            CHAMPION_TAG: score.version if score else "",
            CHAMPION_PROBLEM_TAG: (score.problem or "") if score else "",
        }
    )


def align_classes(
    probabilities: NDArray[np.float32], own: Sequence[Any], wanted: Sequence[Any]
) -> NDArray[np.float32]:
    """Probabilities in the order of the classes that shall be told apart.

    A class that the model never saw gets 0. What it gives to classes that are no longer there is kept in
    columns after them, where it is never right.

    Args:
        probabilities: of the model's classes, (samples, own).
        own: value of each of them.
        wanted: value of each class of the rows.

    Returns:
        Probabilities, (samples, wanted and those of ``own`` not among them).

    Raises:
        IncomparableChampionError: no class is among both.
    """
    if not set(own) & set(wanted):
        raise IncomparableChampionError(
            f"its classes {list(own)} share none with those of the rows, {list(wanted)}"
        )
    columns = [*wanted, *(each for each in own if each not in set(wanted))]
    aligned = np.zeros((len(probabilities), len(columns)), dtype=np.float32)
    aligned[:, [columns.index(each) for each in own]] = probabilities
    return aligned


def _refuse_other_task(learnt: LearntModel, samples: Samples, data: TrainingData) -> None:
    if learnt.label != data.label:
        raise IncomparableChampionError(f'it predicts "{learnt.label}", not "{data.label}"')
    if bool(learnt.classes) != bool(samples.rows.classes):
        theirs, ours = ("classes", "values") if learnt.classes else ("values", "classes")
        raise IncomparableChampionError(f"it predicts {theirs} of {data.label}, not {ours}")


def _windows(
    learnt: LearntModel, frame: pd.DataFrame, samples: Samples, *, data: TrainingData, keys: RowKeys
) -> Iterator[NDArray[np.float32]]:
    """Batches of the champion's windows that end at the test samples, (batch, window, features)."""
    rows = labelled_rows(frame, data.model_copy(update={"features": list(learnt.features)}), keys)
    last_rows = samples.test.last_rows
    short = ~np.isin(last_rows, window_ends(rows.entity, learnt.window))
    if short.any():
        raise IncomparableChampionError(
            f"{short.sum()} of {len(last_rows)} test rows have fewer than the {learnt.window} rows before "
            "them that it sees"
        )
    for start in range(0, len(last_rows), SAMPLES_AT_ONCE):
        yield windows_ending_at(rows.features, last_rows[start : start + SAMPLES_AT_ONCE], learnt.window)


def _predictions(
    model: "onnx.ModelProto", windows: Iterator[NDArray[np.float32]], learnt: LearntModel
) -> Iterator[NDArray[np.float32]]:
    from mlinfra.models.onnx_export import onnx_session, run_session

    session = onnx_session(model)
    outputs = len(learnt.classes) or 1
    for batch in windows:
        answers = run_session(session, batch)
        if answers.shape != (len(batch), outputs):
            raise IncomparableChampionError(
                f"it answers {len(batch)} samples with {answers.shape} numbers, not {(len(batch), outputs)}"
            )
        if not np.isfinite(answers).all():
            raise IncomparableChampionError("some of its answers are no numbers")
        yield answers


def _told(version: str, error: Exception) -> str:
    problem = str(error) if isinstance(error, MlinfraError) else f"{type(error).__name__}: {error}"
    logger.warning("Version %s in Production cannot be compared: %s", version, problem)
    return problem[:MAX_PROBLEM_LENGTH]
