"""Exports the trained network to ONNX, and lets it pass only where both compute the same."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mlinfra.training.config import TrainingConfig
from mlinfra.training.errors import OnnxMismatchError
from mlinfra.training.metadata import model_metadata
from mlinfra.training.objective import Objective
from mlinfra.training.samples import Samples

if TYPE_CHECKING:
    import onnx

MAX_DIFFERENCE = 1e-4
"""Of a probability; of a value, in standard deviations of the label."""
COMPARED_SAMPLES = 256


def export_verified(
    served: nn.Module,
    objective: Objective,
    config: TrainingConfig,
    samples: Samples,
    *,
    expected: NDArray[np.float32],
) -> tuple["onnx.ModelProto", float]:
    """Export to ONNX, and compare with the network on test samples spread over the whole test part.

    Args:
        served: raw features in, (batch, window, features); what a user reads out, (batch, outputs).
        objective: what was learnt.
        config: for the metadata.
        samples: the test part is compared.
        expected: what the network answers for all test samples, (samples, outputs).

    Returns:
        The model and the greatest absolute difference of an answer.

    Raises:
        OnnxMismatchError: the difference is above 1e-4 in a probability, or above 1e-4 of the label's
            standard deviation in a value.
    """
    from mlinfra.models.onnx_export import export_onnx, run_onnx

    count = len(samples.test.last_rows)
    chosen = np.unique(np.linspace(0, count - 1, COMPARED_SAMPLES).astype(int))
    windows = samples.windows(samples.test.last_rows[chosen])
    model = export_onnx(
        served, windows[:1], model_metadata(config, samples), output_name=objective.output_name
    )
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
