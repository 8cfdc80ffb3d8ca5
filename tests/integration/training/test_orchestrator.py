"""The guide's coroutines: they train, register, export and promote without Kubernetes."""

import ast
import asyncio
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from mlflow import MlflowClient

from mlinfra.features import FeatureStore
from mlinfra.training import ModelConfig, TrainerConfig, TrainingOrchestrator, get_training_orchestrator
from mlinfra.training.epochs import Epoch
from mlinfra.training.progress import Progress


@pytest.fixture
def orchestrator(
    feature_store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TrainingOrchestrator:
    monkeypatch.setenv("MLINFRA_FEATURE_STORE_URI", str(feature_store.root))
    orchestrator = get_training_orchestrator(
        model_config=ModelConfig(parameters={"hiddenSize": 8, "convChannels": [8]}),
        trainer_config=TrainerConfig(epochs=2),
    )
    orchestrator.experiment_name = "orchestrator"
    orchestrator.export_folder = tmp_path
    return orchestrator


async def test_a_model_that_is_good_enough_reaches_production(
    orchestrator: TrainingOrchestrator, mlflow_server: Any
) -> None:
    result = await orchestrator.train_model(model_name="good", min_accuracy_for_promotion=0.80)
    assert result["success"], result
    assert result["test_metrics"]["accuracy"] > result["baseline_accuracy"]
    assert (result["version"], result["stage"], result["promoted"]) == ("1", "Production", True)
    client = MlflowClient(mlflow_server.uri)
    version = client.get_model_version_by_alias("good", "production")
    assert version.run_id == result["run_id"]
    assert client.get_run(result["run_id"]).info.status == "FINISHED"
    session = onnxruntime.InferenceSession(result["onnx_path"], providers=["CPUExecutionProvider"])
    features = session.get_inputs()[0].shape[2]
    (probabilities,) = session.run(None, {"features": np.zeros((3, 20, features), dtype=np.float32)})
    assert probabilities.shape == (3, 2)


async def test_a_model_below_the_gate_is_registered_only(orchestrator: TrainingOrchestrator) -> None:
    result = await orchestrator.train_model(
        model_name="poor", export_onnx=False, min_accuracy_for_promotion=0.99
    )
    assert result["success"], result
    assert (result["version"], result["stage"], result["onnx_path"]) == ("1", "None", None)


async def test_quick_train_leaves_the_event_loop_free(orchestrator: TrainingOrchestrator) -> None:
    epochs: list[int] = []
    loop = asyncio.get_running_loop()

    def show(epoch: Epoch, _: Progress) -> None:
        loop.call_soon_threadsafe(epochs.append, epoch.number)

    orchestrator.on_progress = show
    training = asyncio.create_task(orchestrator.quick_train(epochs=3, batch_size=128, learning_rate=0.01))
    async with asyncio.timeout(60):
        while not epochs:
            await asyncio.sleep(0.005)
    assert not training.done()
    result = await training
    assert result["success"], result
    assert epochs == [1, 2, 3]
    assert result["epochs"] == 3
    assert result["stage"] == "None"


async def test_a_notebook_awaits_at_the_top_of_its_cells(
    orchestrator: TrainingOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As IPython runs a cell: compiled with await at its top, in the loop that the kernel runs in."""
    cells = [
        "from mlinfra.training import ModelConfig, TrainerConfig, get_training_orchestrator",
        "one = get_training_orchestrator(model_config=model, trainer_config=TrainerConfig(epochs=1))",
        "one.experiment_name, one.export_folder = 'notebook', folder",
        "result = await one.train_model(model_name='cell', export_onnx=False, auto_promote=False)",
        "same = await get_training_orchestrator(model_config=model)",
    ]
    names: dict[str, Any] = {"model": orchestrator.model_config, "folder": orchestrator.export_folder}
    for cell in cells:
        code = compile(cell, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(code, names)
        if inspect.isawaitable(running):
            await running
    assert names["result"]["success"], names["result"]
    assert isinstance(names["same"], TrainingOrchestrator)


async def test_bad_input_is_a_result_with_its_reason(orchestrator: TrainingOrchestrator) -> None:
    wrong = await orchestrator.quick_train(epochs=0)
    assert (wrong["success"], wrong["reason"]) == (False, "InvalidConfig")
    orchestrator.model_config = ModelConfig(architecture="hybrid_cnn_lstn")
    unknown = await orchestrator.train_model(model_name="unknown")
    assert (unknown["success"], unknown["reason"]) == (False, "UnknownArchitecture")
    assert "did you mean hybrid_cnn_lstm?" in unknown["error"]


async def test_a_training_whose_files_cannot_be_written_registers_nothing(
    orchestrator: TrainingOrchestrator, mlflow_server: Any, tmp_path: Path
) -> None:
    exports = tmp_path / "unwritten"

    def spoil(_epoch: Epoch, _progress: Progress) -> None:
        if exports.is_dir():
            exports.rmdir()
            exports.touch()

    orchestrator.on_progress, orchestrator.experiment_name = spoil, "unwritten"
    client = MlflowClient(mlflow_server.uri)
    for _ in range(2):  # the second one finds a file where its folder should be, and does not train
        result = await orchestrator.train_model(model_name="unwritten", export_onnx=False)
        assert (result["success"], result["reason"]) == (False, "ExportFolderError"), result
        assert str(exports) in result["error"]
        assert client.search_model_versions("name='unwritten'") == []
        experiment = client.get_experiment_by_name("unwritten")
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id])
        assert [each.info.status for each in found] == ["FAILED"]


async def test_cancelling_ends_the_training_and_fails_its_run(
    orchestrator: TrainingOrchestrator, mlflow_server: Any
) -> None:
    orchestrator.trainer_config = TrainerConfig(epochs=10_000, early_stopping=None)
    orchestrator.experiment_name = "cancelled"
    first_epoch = asyncio.Event()
    loop = asyncio.get_running_loop()

    def show(_epoch: Epoch, _progress: Progress) -> None:
        loop.call_soon_threadsafe(first_epoch.set)

    orchestrator.on_progress = show
    training = asyncio.create_task(orchestrator.train_model(model_name="cancelled"))
    async with asyncio.timeout(60):
        await first_epoch.wait()
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    client = MlflowClient(mlflow_server.uri)
    experiment = client.get_experiment_by_name("cancelled")
    assert experiment is not None
    async with asyncio.timeout(60):
        while (runs := client.search_runs([experiment.experiment_id]))[0].info.status == "RUNNING":
            await asyncio.sleep(0.05)
    assert runs[0].info.status == "FAILED"
