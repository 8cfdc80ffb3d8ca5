"""Exports a network to ONNX and compares what the exported graph computes with the network."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

INPUT_NAME = "features"
OUTPUT_NAME = "output"


def export_onnx(
    network: nn.Module,
    example: NDArray[np.float32],
    metadata: Mapping[str, str],
    *,
    output_name: str = OUTPUT_NAME,
) -> onnx.ModelProto:
    """Export ``network`` on the CPU in evaluation mode; the batch size stays open.

    Args:
        network: one tensor in, one tensor out, the batch first in both.
        example: an input, (batch, ...); all but its first axis is fixed in the graph.
        metadata: properties to keep in the model.
        output_name: name of the output in the graph.
    """
    network.eval().cpu()
    # Exporting specialises a batch of 1 or 0; any other size stays open.
    batch = torch.from_numpy(np.repeat(example[:1], 2, axis=0))
    with _quiet_exporter(), torch.no_grad():
        graph = torch.export.export(
            network, (batch,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
        )
        program = torch.onnx.export(
            graph,
            (batch,),
            input_names=[INPUT_NAME],
            output_names=[output_name],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    model = program.model_proto
    model.producer_name = "mlinfra"
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    return model


def run_onnx(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What ONNX Runtime computes on the CPU for ``inputs``, (batch, ...)."""
    return run_session(onnx_session(model), inputs)


def onnx_session(model: onnx.ModelProto) -> "InferenceSession":
    """A session of ONNX Runtime on the CPU, for one batch after another."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run_session(session: "InferenceSession", inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a session of one input and one output computes for ``inputs``, (batch, ...)."""
    (outputs,) = session.run(None, {session.get_inputs()[0].name: inputs})
    return np.asarray(outputs, dtype=np.float32)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    # The exporter tells of packages and deprecations of its own that nobody here can act on.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
