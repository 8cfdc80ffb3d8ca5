"""Predictions as rows of a feature group: what the model read and answered, for whom, when, by which version.

=====================  =====================================================================
``prediction_id``      the entity of the group
``event_timestamp``    what the prediction is of; when it was made, unless the client says else
``model_version``      version of the model
``entity``             whose features the server read; null where the client gave them
``replica``            the server that made it, and
``sequence``           its order among that server's
``request_crc32``      checksum of what was asked, where the client gave the ID
the model's features   values of the newest row of the window; null where a share alone is logged with them
``prediction``         the class, or the value
``output_0``, ...      probability of each class; of models of other libraries, the outputs
=====================  =====================================================================
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlinfra.models.learnt import LearntModel
from mlinfra.serving.observations import Observed, prediction_ids
from mlinfra.serving.served_model import ServedModel
from mlinfra.serving.tensors import OPEN, Array, TensorSpec

if TYPE_CHECKING:
    from mlinfra.features.group import FeatureGroup

ID_COLUMN = "prediction_id"
TIME_COLUMN = "event_timestamp"
VERSION_COLUMN = "model_version"
ENTITY_COLUMN = "entity"
PREDICTION_COLUMN = "prediction"
LABEL_COLUMN = "label"
REPLICA_COLUMN = "replica"
SEQUENCE_COLUMN = "sequence"
CHECKSUM_COLUMN = "request_crc32"
OUTPUT_PREFIX = "output_"
RESERVED = (
    ID_COLUMN,
    TIME_COLUMN,
    VERSION_COLUMN,
    ENTITY_COLUMN,
    PREDICTION_COLUMN,
    REPLICA_COLUMN,
    SEQUENCE_COLUMN,
    CHECKSUM_COLUMN,
    "created_timestamp",
)
MAX_COLUMNS = 1024
"""Of a model of another library: tensors with more values a row are not logged."""
TIME_TYPE = pa.timestamp("us", "UTC")


def log_group(prefix: str, model_name: str) -> str:
    """Name of a feature group of a model: ``predictions_my_model``."""
    return (f"{prefix}_" + re.sub(r"[^A-Za-z0-9_.-]+", "_", model_name))[:128]


def feature_column(name: str) -> str:
    """The column of a feature, whose name may be one of the log's own."""
    return f"feature_{name}" if name in RESERVED or name.startswith(OUTPUT_PREFIX) else name


def is_log(group: "FeatureGroup") -> bool:
    """Whether a feature group is the log of a model's predictions."""
    return group.entity_column == ID_COLUMN and {SEQUENCE_COLUMN, PREDICTION_COLUMN} <= set(group.columns)


def rows_with_features(table: pa.Table, columns: Sequence[str]) -> NDArray[np.bool_]:
    """Which rows of a log have the features, (rows,): no server lets a model read a null.

    Args:
        table: the rows.
        columns: the columns of the features; see `feature_column`.
    """
    known = np.zeros(len(table), np.bool_)
    for name in columns:
        known |= table.column(name).is_valid().to_numpy()
    return known


def output_columns(names: Sequence[str]) -> list[str]:
    """Those of the names that are of outputs, in their order."""
    outputs = [name for name in names if re.fullmatch(f"{OUTPUT_PREFIX}[0-9]+", name)]
    return sorted(outputs, key=lambda name: int(name.removeprefix(OUTPUT_PREFIX)))


def numbers_of_outputs(columns: Mapping[str, pa.Array], rows: int) -> NDArray[np.float32]:
    """Outputs in a log's columns that are numbers, (rows, outputs): what a label may be compared with."""
    names = output_columns(list(columns)) or [PREDICTION_COLUMN]
    found = [columns[name] for name in names if name in columns]
    numbers = [
        each.to_numpy(zero_copy_only=False).astype(np.float32)
        for each in found
        if not (pa.types.is_string(each.type) or pa.types.is_binary(each.type))
    ]
    return np.column_stack(numbers) if numbers else np.empty((rows, 0), np.float32)


def has_features(request_id: str, share: float) -> bool:
    """Whether a request is among the share that is logged with its features; the same for all who ask."""
    return zlib.crc32(request_id.encode()) < share * 2**32


def log_table(batch: Sequence[Observed], replica: str, *, share: float = 1.0) -> pa.Table:
    """Rows of predictions of one model, one version; rows of one request follow one another in order.

    Args:
        batch: the predictions.
        replica: which server made them.
        share: of the requests that have their features in the log, told by `has_features`.
    """
    model = batch[0].model
    rows = [each.rows for each in batch]
    times = np.repeat(np.array([each.event_time // 1000 for each in batch], np.int64), rows)
    columns: dict[str, pa.Array] = {
        ID_COLUMN: pa.array(
            [one for each in batch for one in prediction_ids(each.id, each.rows)], pa.string()
        ),
        TIME_COLUMN: pa.array(times, pa.int64()).cast(TIME_TYPE),
        VERSION_COLUMN: pa.array([model.file.version] * sum(rows), pa.string()),
        ENTITY_COLUMN: pa.array(_entities(batch), pa.string()),
    }
    columns[REPLICA_COLUMN] = pa.array([replica] * sum(rows), pa.string())
    columns[SEQUENCE_COLUMN] = pa.array(
        [each.sequence + row for each in batch for row in range(each.rows)], pa.int64()
    )
    columns[CHECKSUM_COLUMN] = pa.array(
        [each.checksum for each in batch for _ in range(each.rows)], pa.int64()
    )
    known = pa.array(np.repeat([has_features(each.id, share) for each in batch], rows))
    for name, values in _inputs(model, batch):
        # Of the values' own type, also where none is known.
        columns[feature_column(name)] = pc.if_else(known, values, pa.scalar(None, values.type))
    return pa.table(columns | _outputs(model, batch))


def output_matrix(model: ServedModel, batch: Sequence[Observed]) -> Array:
    """The first output of each prediction, (rows, outputs)."""
    return np.concatenate([each.outputs[0].reshape(each.rows, -1) for each in batch])


def feature_matrix(learnt: LearntModel, batch: Sequence[Observed]) -> Array:
    """The newest row of each window, (rows, features)."""
    tensors = [next(iter(each.inputs.values())) for each in batch]
    newest = [each[:, -1, :] if each.ndim == 3 else each.reshape(len(each), -1) for each in tensors]
    matrix: Array = np.concatenate(newest)[:, : len(learnt.features)]
    return matrix


def _entities(batch: Sequence[Observed]) -> list[str | None]:
    found: list[str | None] = []
    for each in batch:
        found += [None] * each.rows if each.entities is None else [str(key) for key in each.entities]
    return found


def _inputs(model: ServedModel, batch: Sequence[Observed]) -> list[tuple[str, pa.Array]]:
    if model.learnt is not None and len(model.inputs) == 1:
        matrix = feature_matrix(model.learnt, batch)
        return [(name, pa.array(matrix[:, place])) for place, name in enumerate(model.learnt.features)]
    columns: list[tuple[str, pa.Array]] = []
    for spec in model.inputs:
        columns += _flat(spec, [each.inputs[spec.name] for each in batch])
    return columns


def remembered_outputs(prediction: Observed) -> NDArray[np.float32]:
    """The numbers among a prediction's outputs that its rows of the log have, (rows, outputs)."""
    if prediction.model.learnt is not None:
        return output_matrix(prediction.model, [prediction]).astype(np.float32)
    return numbers_of_outputs(_outputs(prediction.model, [prediction]), prediction.rows)


def _outputs(model: ServedModel, batch: Sequence[Observed]) -> dict[str, pa.Array]:
    if model.learnt is None:
        found: list[tuple[str, pa.Array]] = []
        for place, spec in enumerate(model.outputs):
            found += _flat(spec, [each.outputs[place] for each in batch])
        return {f"{OUTPUT_PREFIX}{place}": values for place, (_, values) in enumerate(found)}
    matrix = output_matrix(model, batch)
    classes = model.learnt.classes
    if not classes:
        return {PREDICTION_COLUMN: pa.array(matrix[:, 0])}
    predicted = [classes[place] for place in matrix.argmax(axis=1).tolist()]
    return {PREDICTION_COLUMN: pa.array(predicted)} | {
        f"{OUTPUT_PREFIX}{place}": pa.array(matrix[:, place]) for place in range(matrix.shape[1])
    }


def _flat(spec: TensorSpec, arrays: Sequence[Array]) -> list[tuple[str, pa.Array]]:
    """Columns of a tensor whose rows have one size; none where it is open or too wide."""
    if OPEN in spec.shape[1:] or int(np.prod(spec.shape[1:])) > MAX_COLUMNS or not spec.shape:
        return []
    joined = np.concatenate([each.reshape(len(each), -1) for each in arrays])
    names = [spec.name] if joined.shape[1] == 1 else [f"{spec.name}_{n}" for n in range(joined.shape[1])]
    clean = [re.sub(r"[^A-Za-z0-9_.-]+", "_", name) for name in names]
    return [(name, pa.array(np.ascontiguousarray(joined[:, place]))) for place, name in enumerate(clean)]
