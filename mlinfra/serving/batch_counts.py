"""Rows of a file or a feature group with a model's answers, counted beside its reference profile."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlinfra.errors import InvalidInputError
from mlinfra.monitoring.chunks import CountedWindow, moment
from mlinfra.monitoring.profile import ReferenceProfile
from mlinfra.monitoring.references import columns_of
from mlinfra.serving.batch_prediction import answers_to
from mlinfra.serving.batch_sources import RowBatch
from mlinfra.serving.served_model import ServedModel
from mlinfra.serving.windows import Floats, Int64s, WindowStream


class NoRowsError(InvalidInputError):
    """There is nothing to compare with the reference."""

    reason = "NoRows"


@dataclass(frozen=True, slots=True)
class AnsweredRows:
    """Rows in order of time.

    Attributes:
        times: event times, nanoseconds since 1970 in UTC, rising, (rows,).
        features: in the model's order, as they came: NaN is no value, (rows, features).
        outputs: what the model answers, (rows, outputs); None where no model was asked.
    """

    times: Int64s
    features: Floats
    outputs: NDArray[np.float32] | None


def answered_rows(
    batches: Iterable[RowBatch], model: ServedModel | None = None, stream: WindowStream | None = None
) -> AnsweredRows:
    """All rows, and what a model answers to them; all are held in memory.

    Args:
        batches: the rows, each with its time.
        model: what answers; nothing where None.
        stream: makes windows for it; rows that have none are left out, as they are not answered.

    Raises:
        NoRowsError: there are none.
        InvalidFeatures: a row cannot be answered.
        ModelFailedError: the graph failed.
    """
    times, features, outputs = [], [], []
    for batch in batches:
        assert batch.times is not None
        if model is None or stream is None:
            times.append(batch.times)
            features.append(batch.values)
            continue
        whole, windows = stream.add(batch.entities, batch.times, batch.values)
        times.append(batch.times[whole])
        features.append(batch.values[whole])
        outputs.append(answers_to(model, windows))
    if not sum(map(len, times)):
        raise NoRowsError(
            "there are no rows to compare with the reference, or none has as many rows before it as the "
            "model reads: ask for more dates"
        )
    joined = np.concatenate(times)
    order = np.argsort(joined, kind="stable")
    answers = np.concatenate(outputs)[order] if outputs else None
    return AnsweredRows(joined[order], np.concatenate(features)[order], answers)


def counted_windows(profile: ReferenceProfile, rows: AnsweredRows, windows: int) -> list[CountedWindow]:
    """The rows in windows of nearly the same size, in order of time."""
    counted = []
    for part in np.array_split(np.arange(len(rows.times)), min(windows, len(rows.times))):
        columns = columns_of(profile.feature_names, rows.features[part])
        counts = (
            profile.count(columns, rows.outputs[part])
            if rows.outputs is not None
            else profile.count_features(columns)
        )
        first, last = int(rows.times[part[0]]), int(rows.times[part[-1]])
        counted.append(CountedWindow(moment(first), moment(last), counts))
    return counted
