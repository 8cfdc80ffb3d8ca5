"""Predictions of many rows at once, from and to Parquet: what ``mlinfra predict`` does."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlinfra.errors import InvalidInputError, MlinfraError
from mlinfra.models.learnt import LearntModel
from mlinfra.serving.batch_sources import RowBatch
from mlinfra.serving.log_rows import OUTPUT_PREFIX, PREDICTION_COLUMN, VERSION_COLUMN
from mlinfra.serving.served_model import ServedModel, refuse_no_answer
from mlinfra.serving.windows import WindowStream

SAMPLES_AT_ONCE = 4096


class UnusableForBatchesError(InvalidInputError):
    """The model does not tell which columns it reads."""

    reason = "UnusableForBatches"


class OutputFileError(MlinfraError):
    """The file of predictions cannot be written."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What was predicted.

    Attributes:
        rows: rows that were read.
        predicted: rows with a prediction.
        without_window: rows that have fewer rows before them than the model reads; they are left out.
    """

    rows: int
    predicted: int
    without_window: int


def learnt_for_batches(model: ServedModel) -> LearntModel:
    """What the model reads; raises `UnusableForBatchesError` where it does not tell."""
    if model.learnt is None or len(model.inputs) != 1:
        raise UnusableForBatchesError(
            f"{model.file.uri} does not tell which columns it reads: mlinfra did not train it; ask a server "
            "with tensors instead"
        )
    return model.learnt


def predict_to_file(
    model: ServedModel, batches: Iterator[RowBatch], stream: WindowStream, path: Path
) -> BatchReport:
    """Predict rows as they come, and write them; the file appears when all of it is written.

    Args:
        model: what predicts.
        batches: the rows.
        stream: makes windows of them.
        path: of the Parquet file: keys, version, prediction and outputs.

    Raises:
        OutputFileError: the file cannot be written.
        InvalidFeatures: a row cannot be predicted; no file is left.
        ModelFailedError: the graph failed.
    """
    if path.name == "" or (path.exists() and not path.is_file()):
        raise OutputFileError(f"{path} cannot be written: it is no file")
    learnt = learnt_for_batches(model)
    rows = predicted = 0
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    writer: pq.ParquetWriter | None = None
    try:
        for batch in batches:
            whole, windows = stream.add(batch.entities, batch.times, batch.values)
            table = _table(model, learnt, batch, whole, answers_to(model, windows))
            if writer is None:
                writer = pq.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
            rows += len(batch.values)
            predicted += len(whole)
        if writer is None:
            raise OutputFileError("there are no rows to predict")
        writer.close()
        temporary.replace(path)
    except OSError as error:
        raise OutputFileError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if writer is not None:
            writer.close()
        temporary.unlink(missing_ok=True)
    return BatchReport(rows, predicted, rows - predicted)


def answers_to(model: ServedModel, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first output for each window, (windows, outputs).

    Raises:
        ModelFailedError: the graph failed.
    """
    spec = model.inputs[0]
    width = len(model.learnt.classes) or 1 if model.learnt else 1
    answers = [np.empty((0, width), np.float32)]
    for start in range(0, len(windows), SAMPLES_AT_ONCE):
        outputs = model.run({spec.name: windows[start : start + SAMPLES_AT_ONCE].astype(spec.dtype)})
        refuse_no_answer(model, outputs)
        answers.append(outputs[0].astype(np.float32))
    return np.concatenate(answers)


def _table(
    model: ServedModel,
    learnt: LearntModel,
    batch: RowBatch,
    whole: NDArray[np.int64],
    answers: NDArray[np.float32],
) -> pa.Table:
    columns = {
        name: column.take(pa.array(whole))
        for name, column in zip(batch.keys.column_names, batch.keys.columns, strict=True)
    }
    columns[VERSION_COLUMN] = pa.array([model.file.version] * len(whole), pa.string())
    if not learnt.classes:
        columns[PREDICTION_COLUMN] = pa.array(answers[:, 0], pa.float32())
        return pa.table(columns)
    kind = pa.infer_type(list(learnt.classes))
    classes = [learnt.classes[place] for place in answers.argmax(axis=1).tolist()]
    columns[PREDICTION_COLUMN] = pa.array(classes, kind)
    columns |= {
        f"{OUTPUT_PREFIX}{place}": pa.array(np.ascontiguousarray(answers[:, place]), pa.float32())
        for place in range(answers.shape[1])
    }
    return pa.table(columns)
