"""Only a whole, unchanged ONNX file of one piece is ever loaded from MLflow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from mlinfra.tracking import get_mlflow_tracker
from mlinfra.tracking.errors import TrackingRefusedError, UnusableModelError
from mlinfra.tracking.onnx_files import load_onnx_model
from mlinfra.tracking.tracker import MlflowTracker


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MLflow's database: to make one takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    MlflowTracker(f"sqlite:///{folder}/mlflow.db").client.create_experiment(
        "files", artifact_location=str(folder / "artifacts")
    )
    return folder


@pytest.fixture
def tracker(store: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowTracker:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return get_mlflow_tracker(f"sqlite:///{store}/mlflow.db", experiment_name="files")


@pytest.fixture
def uri(tracker: MlflowTracker) -> str:
    with tracker:
        tracker.start_run()
        return tracker.log_model(add_one(), "model")


def add_one() -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"])],
        "add",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.ones((1, 1), dtype=np.float32), "one")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def logged_file(store: Path, uri: str, name: str) -> Path:
    (found,) = store.glob(f"artifacts/models/{uri.rpartition('/')[2]}/**/{name}")
    return found


def test_a_logged_model_comes_back_as_it_was(tracker: MlflowTracker, uri: str) -> None:
    assert tracker.load_onnx_model(uri) == add_one()
    version = tracker.register_model(uri, "adder")
    tracker.transition_model_stage("adder", version, "Production")
    assert tracker.load_onnx_model("models:/adder@production") == add_one()
    assert tracker.load_onnx_model(f"models:/adder/{version}") == add_one()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def other_weights(path: Path) -> None:
    model = add_one()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((1, 1), dtype=np.float32), "one"))
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("name", "spoil", "problem"),
    [
        ("model.onnx", truncate, "the file was changed"),
        ("model.onnx", other_weights, "the file was changed"),
        ("model.onnx", Path.unlink, r"has no file model\.onnx"),
        ("MLmodel", Path.unlink, "has no file MLmodel"),
        ("MLmodel", lambda path: path.write_text("- 1"), "it holds no mapping"),
        ("MLmodel", lambda path: path.write_text("{"), "MLmodel is damaged"),
        ("MLmodel", lambda path: path.write_text("flavors: {onnx: {data: ../secret}}"), "names no ONNX file"),
        ("MLmodel", lambda path: path.write_text("flavors: {python_function: {}}"), "but python_function"),
    ],
)
def test_a_spoilt_model_is_refused(
    tracker: MlflowTracker, uri: str, store: Path, name: str, spoil: Callable[[Path], object], problem: str
) -> None:
    spoil(logged_file(store, uri, name))
    with pytest.raises(UnusableModelError, match=problem):
        tracker.load_onnx_model(uri)


@pytest.mark.parametrize(
    ("content", "problem"), [(b"not ONNX", "not a valid ONNX model"), (b"", "not a valid ONNX model")]
)
def test_a_file_without_a_hash_is_checked_as_well(
    tracker: MlflowTracker, uri: str, store: Path, content: bytes, problem: str
) -> None:
    logged_file(store, uri, "model.onnx").write_bytes(content)
    logged_file(store, uri, "MLmodel").write_text("flavors: {onnx: {data: model.onnx}}")
    with pytest.raises(UnusableModelError, match=problem):
        tracker.load_onnx_model(uri)


def test_weights_in_other_files_are_refused(tracker: MlflowTracker, uri: str, store: Path) -> None:
    model = add_one()
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], location="/etc/hostname")
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    logged_file(store, uri, "model.onnx").write_bytes(model.SerializeToString())
    logged_file(store, uri, "MLmodel").write_text("flavors: {onnx: {data: model.onnx}}")
    with pytest.raises(UnusableModelError, match=r"keeps weights in other files|not a valid ONNX model"):
        tracker.load_onnx_model(uri)


def test_a_file_that_is_too_large_is_not_downloaded(tracker: MlflowTracker, uri: str) -> None:
    with pytest.raises(UnusableModelError, match="more than the 10 that are read"):
        load_onnx_model(tracker.client, uri, max_bytes=10)


def test_weights_are_no_onnx_model(tracker: MlflowTracker) -> None:
    with tracker:
        tracker.start_run()
        uri = tracker.log_model(torch.nn.Linear(3, 2), "weights")
    with pytest.raises(UnusableModelError, match="is no ONNX model but mlinfra_safetensors"):
        tracker.load_onnx_model(uri)


def test_a_model_that_is_not_there_is_told(tracker: MlflowTracker) -> None:
    assert tracker.production_version("nobody") is None
    with pytest.raises(TrackingRefusedError, match="nobody"):
        tracker.load_onnx_model("models:/nobody/1")
