"""A model that is loaded and warm: its schema, and what it computes."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlinfra.models.learnt import LearntModel
from mlinfra.serving.errors import ModelFailedError
from mlinfra.serving.model_source import ModelFile
from mlinfra.serving.tensors import ONNX_TYPES, OPEN, Array, TensorSpec
from mlinfra.tracking.errors import UnusableModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, NodeArg

WARM_UP_RUNS = 3
WARM_UP_SECONDS = 2.0
"""Of trying larger and larger batches; one that takes longer ends it."""
PAYS_BELOW = 0.9
"""A batch pays where it takes less than this part of what its rows take one by one."""


class ServedModel:
    """A session of ONNX Runtime on the CPU; `run` may be called from one thread at a time.

    Attributes:
        file: where the model came from.
        inputs, outputs: its schema.
        batch_rows: rows to compute at once at most; 1 where requests cannot be computed together, or where
            that was measured to save nothing.
        row_seconds: how long a row takes alone, as measured with zeros; infinite where that is not known.
    """

    def __init__(self, file: ModelFile, *, threads: int = 1) -> None:
        """Load a model.

        Raises:
            UnusableModelError: ONNX Runtime cannot run it, or it reads what no request can hold.
        """
        self.file = file
        self._session = _session(file, threads)
        self.inputs = tuple(_spec(file, each) for each in self._session.get_inputs())
        self.outputs = tuple(_spec(file, each) for each in self._session.get_outputs())
        self.batch_rows = 1
        self.row_seconds = math.inf

    @property
    def learnt(self) -> LearntModel | None:
        """What the model reads and predicts; None where another library wrote it."""
        return self.file.learnt

    def same_schema(self, other: "ServedModel") -> bool:
        """Whether both read and answer the same: requests to one can be answered by the other."""
        return (self.inputs, self.outputs, self._columns) == (other.inputs, other.outputs, other._columns)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """The outputs, in the order of the schema.

        Raises:
            ModelFailedError: the graph failed.
        """
        try:
            return list(self._session.run(None, inputs))
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise ModelFailedError(f"model {self.file.name} failed: {_first_line(error)}") from error

    def warm_up(self, max_batch_rows: int, *, clock: Callable[[], float] = time.perf_counter) -> None:
        """Compute zeros, so that the first request does not wait for what a first run sets up.

        Args:
            max_batch_rows: the most rows to compute at once.
            clock: seconds.

        Raises:
            UnusableModelError: it fails although all sizes of its schema are fixed, but for the rows.
        """
        self.batch_rows, self.row_seconds = 1, math.inf
        try:
            one = self._seconds(1, clock)
        except ModelFailedError as error:
            # Of an axis that is open besides the rows, 1 may be no size that the graph takes.
            if not self._open_inside():
                raise UnusableModelError(f"{self.file.uri}: {error}") from error
            return
        if not self._rows_are_open():
            return
        if one is not None and not self._open_inside():
            self.row_seconds = one
        started, rows = clock(), 2
        while rows <= max_batch_rows and clock() - started < WARM_UP_SECONDS:
            seconds = self._seconds(rows, clock)
            if seconds is None:
                return
            if one is not None and seconds <= PAYS_BELOW * rows * one:
                self.batch_rows = rows
            rows *= 2

    def _seconds(self, rows: int, clock: Callable[[], float]) -> float | None:
        """How long so many rows take at best; None where the answer has another number of rows."""
        example = {spec.name: _zeros(spec, rows) for spec in self.inputs}
        taken = []
        for _ in range(WARM_UP_RUNS):
            started = clock()
            answers = self.run(example)
            taken.append(clock() - started)
        fits = all(answer.ndim > 0 and answer.shape[0] == rows for answer in answers)
        return min(taken) if fits else None

    def _rows_are_open(self) -> bool:
        return all(spec.shape and spec.shape[0] == OPEN for spec in (*self.inputs, *self.outputs))

    def _open_inside(self) -> bool:
        return any(OPEN in spec.shape[1:] for spec in self.inputs)

    @property
    def _columns(self) -> tuple[Any, ...] | None:
        learnt = self.learnt
        return (learnt.features, learnt.window, learnt.classes) if learnt else None


def refuse_no_answer(model: ServedModel, outputs: Sequence[Array]) -> None:
    """Refuse NaN and infinities in an answer: JSON has none, and nobody could use them.

    Raises:
        ModelFailedError: the message names the output.
    """
    for spec, array in zip(model.outputs, outputs, strict=True):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelFailedError(f'output "{spec.name}" of model {model.file.name} is no number')


def _session(file: ModelFile, threads: int) -> "InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between requests take the processor from those that serve them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(file.content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base
        raise UnusableModelError(f"{file.uri}: ONNX Runtime cannot run it: {_first_line(error)}") from error


def _spec(file: ModelFile, tensor: "NodeArg") -> TensorSpec:
    datatype = ONNX_TYPES.get(tensor.type)
    if datatype is None:
        raise UnusableModelError(f"{file.uri}: {tensor.name} is {tensor.type}, which no request can hold")
    shape = tuple(size if isinstance(size, int) else OPEN for size in tensor.shape)
    return TensorSpec(tensor.name, datatype, shape)


def _zeros(spec: TensorSpec, rows: int) -> Array:
    first = [rows if spec.shape[0] == OPEN else spec.shape[0]] if spec.shape else []
    shape = first + [1 if size == OPEN else size for size in spec.shape[1:]]
    return np.full(shape, "", np.object_) if spec.datatype == "BYTES" else np.zeros(shape, spec.dtype)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
