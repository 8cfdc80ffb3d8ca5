"""Writes a model as a folder in MLflow's format; weights travel as ONNX or safetensors, never as pickles."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mlinfra.tracking.errors import UnsupportedModelError

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.models.model import Model
    from numpy.typing import NDArray
    from torch import nn

WEIGHTS_FLAVOR = "mlinfra_safetensors"
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


def is_onnx(model: object) -> bool:
    """Whether a model is an ``onnx.ModelProto``."""
    return hasattr(model, "SerializeToString") and hasattr(model, "graph")


def refuse_unsupported(model: object) -> None:
    """Let ONNX models and torch networks pass.

    Raises:
        UnsupportedModelError: it is neither.
    """
    if is_onnx(model):
        return
    from torch import nn

    if not isinstance(model, nn.Module):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise UnsupportedModelError(
            f"log_model keeps ONNX models and torch networks, not {kind}: that would have to be a pickle, "
            "which runs code when it is read. Convert it to ONNX, for example with skl2onnx or onnxmltools."
        )


def write_model(
    folder: Path,
    description: "Model",
    model: "onnx.ModelProto | nn.Module",
    *,
    input_example: "NDArray[np.float32] | None",
    config: Mapping[str, Any] | None,
) -> None:
    """Write a model into ``folder``: as ONNX where it is or can become so, else its weights."""
    if is_onnx(model):
        save_onnx(folder, description, model=cast("onnx.ModelProto", model), input_example=input_example)
        return
    network = cast("nn.Module", model)
    if input_example is None:
        save_weights(folder, description, network=network, config=config)
        return
    from mlinfra.models.onnx_export import export_onnx

    save_onnx(folder, description, model=export_onnx(network, input_example, {}), input_example=input_example)


def save_onnx(
    folder: Path,
    description: "Model",
    *,
    model: "onnx.ModelProto",
    input_example: "NDArray[np.float32] | None",
) -> None:
    """Write an ONNX model, its signature and its requirements into ``folder``."""
    import mlflow.onnx

    mlflow.onnx.save_model(
        onnx_model=model,
        path=str(folder),
        mlflow_model=description,
        signature=onnx_signature(model),
        input_example=input_example,
        # Named here: MLflow would load the model in another process to find out.
        pip_requirements=[f"{package}=={version(package)}" for package in ("mlflow", "onnx", "onnxruntime")],
        save_as_external_data=False,
    )


def save_weights(
    folder: Path, description: "Model", *, network: "nn.Module", config: Mapping[str, Any] | None
) -> None:
    """Write a network's weights, the path of its class and its configuration into ``folder``."""
    from safetensors.torch import save_model

    folder.mkdir(parents=True)
    save_model(network, str(folder / WEIGHTS_FILE))
    class_path = f"{type(network).__module__}:{type(network).__qualname__}"
    (folder / CONFIG_FILE).write_text(
        json.dumps({"class": class_path, "config": dict(config or {})}, indent=2)
    )
    description.add_flavor(
        WEIGHTS_FLAVOR, data=WEIGHTS_FILE, config=CONFIG_FILE, torch_version=version("torch")
    )
    description.save(str(folder / "MLmodel"))


def onnx_signature(model: "onnx.ModelProto") -> "ModelSignature":
    """The tensors that an ONNX graph reads and gives, with -1 for an open axis."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

    return ModelSignature(
        inputs=Schema([_tensor_spec(value) for value in model.graph.input]),
        outputs=Schema([_tensor_spec(value) for value in model.graph.output]),
    )


def _tensor_spec(value: "onnx.ValueInfoProto") -> Any:
    from mlflow.types import TensorSpec
    from onnx.helper import tensor_dtype_to_np_dtype

    tensor = value.type.tensor_type
    shape = tuple(
        dimension.dim_value if dimension.HasField("dim_value") else -1 for dimension in tensor.shape.dim
    )
    return TensorSpec(tensor_dtype_to_np_dtype(tensor.elem_type), shape, name=value.name)
