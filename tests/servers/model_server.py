"""A real model server in a process of its own, and small models for it."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

START_SECONDS = 60.0
END_SECONDS = 30.0


@dataclass(slots=True)
class ModelServer:
    """A server on a free port; what it says is kept in ``log``."""

    environment: Mapping[str, str]
    log: Path
    url: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self, *, wait_until_ready: bool = True) -> "ModelServer":
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlinfra.serving"],
                env=os.environ | {"PORT": "0"} | self.environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self.url = self.said("listening on ").rpartition(" ")[2]
        if wait_until_ready:
            self.said("ready: ")
        return self

    def said(self, text: str) -> str:
        """The next line with this text, or fail."""
        assert self.process is not None
        assert self.process.stdout is not None
        deadline = time.monotonic() + START_SECONDS
        heard = []
        while time.monotonic() < deadline:
            if not select.select([self.process.stdout], [], [], 1.0)[0]:
                continue
            line = self.process.stdout.readline().decode()
            heard.append(line)
            if text in line:
                return line.strip()
            if not line:
                break
        raise AssertionError(f"never said {text!r}: {''.join(heard)}{self.log.read_text()}")

    def ended(self) -> int:
        """The exit code, once it has ended by itself."""
        assert self.process is not None
        return self.process.wait(timeout=START_SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it, and give the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=END_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30)


def linear_model(
    path: Path,
    *,
    bias: float = 0.0,
    features: int = 3,
    window: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """An ONNX file that gives the sum of a sample's features, plus ``bias``, as ``value`` (rows, 1)."""
    inside = [features] if window is None else [window, features]
    axes = np.arange(1, len(inside) + 1, dtype=np.int64)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["features", "axes"], ["sum"], keepdims=0),
            helper.make_node("Unsqueeze", ["sum", "last"], ["column"]),
            helper.make_node("Add", ["column", "bias"], ["value"]),
        ],
        "linear",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", *inside])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["batch", 1])],
        [
            numpy_helper.from_array(axes, "axes"),
            numpy_helper.from_array(np.array([1], np.int64), "last"),
            numpy_helper.from_array(np.array([[bias]], np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


def text_classifier(path: Path) -> Path:
    """An ONNX file as scikit-learn's converter writes it: a text ``label`` (rows,), "up" where the first of
    two features is the larger one and else "down", and ``probabilities`` (rows, 2).
    """
    node = helper.make_node(
        "LinearClassifier",
        ["features"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_strings=["down", "up"],
        coefficients=[-1.0, 1.0, 1.0, -1.0],
        intercepts=[0.0, 0.0],
        post_transform="SOFTMAX",
        multi_class=1,
    )
    graph = helper.make_graph(
        [node],
        "text",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 2])],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, ["batch"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2]),
        ],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def slow_model(path: Path, *, steps: int) -> Path:
    """An ONNX file that gives the sum of three features, after about a millisecond for each step."""
    width = 1024
    widen = np.zeros((3, width), np.float32)
    widen[:, 0] = 1.0
    names = [f"step{number}" for number in range(steps + 1)]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "widen"], [names[0]]),
            *(helper.make_node("MatMul", [before, "same"], [after]) for before, after in pairwise(names)),
            helper.make_node("ReduceSum", [names[-1], "axes"], ["value"], keepdims=1),
        ],
        "slow",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["batch", 1])],
        [
            numpy_helper.from_array(widen, "widen"),
            numpy_helper.from_array(np.eye(width, dtype=np.float32), "same"),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def learnt_metadata(
    features: list[str],
    *,
    window: int = 1,
    feature_group: str = "prices",
    classes: list[int] | None = None,
    label: str = "next",
) -> dict[str, str]:
    """Metadata as training writes them."""
    return {
        "mlinfra.features": json.dumps(features),
        "mlinfra.window_length": str(window),
        "mlinfra.label": label,
        "mlinfra.classes": json.dumps(classes or []),
        "mlinfra.feature_group": feature_group,
    }
