"""Exports the trained network to ONNX, and lets it pass only where both compute the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mlinfra.training.config import TrainingConfig
from mlinfra.training.errors import OnnxMismatchError
from mlinfra.training.evaluation import TEST_PREFIX
from mlinfra.training.objective import Objective
from mlinfra.training.samples import Samples

if TYPE_CHECKING:
    import onnx

MAX_DIFFERENCE = 1e-4
"""Of a probability; of a value, in standard deviations of the label."""
COMPARED_SAMPLES = 256
SAMPLES_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Exported:
    """A network as graphs.

    Attributes:
        graph: the one that is registered and served.
        int8: a copy with 8-bit weights; None where none was asked for.
        metrics: differences, sizes in bytes, and the measure of the copy, by metric key.
    """

    graph: "onnx.ModelProto"
    int8: "onnx.ModelProto | None"
    metrics: Mapping[str, float]


def export(
    served: nn.Module,
    objective: Objective,
    config: TrainingConfig,
    samples: Samples,
    *,
    expected: NDArray[np.float32],
    metadata: Mapping[str, str],
) -> Exported:
    """Export to ONNX, and compare with the network; make a copy with 8-bit weights where asked for.

    Args:
        served: raw features in, (batch, window, features); what a user reads out, (batch, outputs).
        objective: what was learnt.
        config: whether a copy with 8-bit weights is asked for.
        samples: the test part is compared.
        expected: what the network answers for all test samples, (samples, outputs).
        metadata: properties to keep in the graphs.

    Raises:
        OnnxMismatchError: the difference is above 1e-4 in a probability, or above 1e-4 of the label's
            standard deviation in a value.
    """
    model, difference = export_verified(served, objective, samples, expected=expected, metadata=metadata)
    metrics = {"onnx_max_abs_difference": difference, "onnx_bytes": float(model.ByteSize())}
    if not config.export.int8:
        return Exported(model, None, metrics)
    small, measured = export_int8(model, objective, samples, expected=expected)
    return Exported(model, small, metrics | measured)


def export_verified(
    served: nn.Module,
    objective: Objective,
    samples: Samples,
    *,
    expected: NDArray[np.float32],
    metadata: Mapping[str, str],
) -> tuple["onnx.ModelProto", float]:
    """Export to ONNX, and compare with the network on test samples spread over the whole test part.

    Arguments and errors are those of `export`.

    Returns:
        The model and the greatest absolute difference of an answer.
    """
    from mlinfra.models.onnx_export import export_onnx, run_onnx

    count = len(samples.test.last_rows)
    chosen = np.unique(np.linspace(0, count - 1, COMPARED_SAMPLES).astype(int))
    windows = samples.windows(samples.test.last_rows[chosen])
    model = export_onnx(served, windows[:1], metadata, output_name=objective.output_name)
    difference = float(np.abs(run_onnx(model, windows) - expected[chosen]).max())
    limit = MAX_DIFFERENCE * objective.unit
    # Not `difference > limit`: a NaN must not pass.
    if not difference <= limit:
        raise OnnxMismatchError(
            f"The exported ONNX graph differs from the network by up to {difference:g} in an answer, "
            f"more than {limit:g}: the model is not logged. Use an architecture without the "
            "operation that exports wrongly, or train without export."
        )
    return model, difference


def export_int8(
    model: "onnx.ModelProto", objective: Objective, samples: Samples, *, expected: NDArray[np.float32]
) -> tuple["onnx.ModelProto", dict[str, float]]:
    """A copy with 8-bit weights, and what it costs on all test samples.

    Returns:
        The copy, and ``int8_test_<primary measure>``, ``int8_max_abs_difference``, ``int8_bytes``.
    """
    from mlinfra.models.int8 import quantize_int8
    from mlinfra.models.onnx_export import run_onnx

    small = quantize_int8(model)
    rows = samples.test.last_rows
    answers = np.concatenate(
        [
            run_onnx(small, samples.windows(rows[start : start + SAMPLES_AT_ONCE]))
            for start in range(0, len(rows), SAMPLES_AT_ONCE)
        ]
    )
    primary = objective.primary.name
    return small, {
        f"int8_{TEST_PREFIX}{primary}": objective.measures(answers, samples.rows.label[rows])[primary],
        "int8_max_abs_difference": float(np.abs(answers - expected).max()),
        "int8_bytes": float(small.ByteSize()),
    }
