"""Eight-bit weights: a smaller graph whose answers differ a little.

Quantisation is dynamic: weights become 8-bit integers once, activations while the graph runs. That is
the one kind ONNX Runtime has for convolutions, linear layers and LSTMs alike, and it needs no calibration
data. The range of the activations is taken over the whole batch, so an answer depends a little on
what else is asked with it, which it does not in the full graph.
"""

import tempfile
from pathlib import Path

import onnx

READY = "onnx.quant.pre_process"
"""The property of a graph whose shapes are inferred: without it ONNX Runtime asks to do that first."""


def quantize_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` with 8-bit weights; it keeps the metadata."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    original = onnx.ModelProto()
    original.CopyFrom(model)
    original.metadata_props.add(key=READY, value="onnxruntime.quant")
    with tempfile.TemporaryDirectory(prefix="mlinfra-int8-") as folder:
        path = Path(folder, "model.onnx")
        # Unsigned: ONNX Runtime's CPU kernel of a convolution takes no signed weights everywhere.
        quantize_dynamic(original, path, weight_type=QuantType.QUInt8)
        quantized = onnx.load(path)
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    quantized.metadata_props.add(key="mlinfra.quantization", value="int8-dynamic")
    return quantized
