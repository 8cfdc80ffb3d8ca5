"""The version in Production is scored beside its challenger, and gives way only to one as good."""

from pathlib import Path

import onnx
import pytest
from mlflow import MlflowClient

from mlinfra.features import FeatureStore
from mlinfra.tracking import get_mlflow_tracker
from mlinfra.tracking.contract import CHAMPION_PROBLEM_TAG, CHAMPION_TAG
from mlinfra.training import ModelConfig, TrainerConfig, TrainingOrchestrator, get_training_orchestrator


@pytest.fixture
def orchestrator(
    feature_store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TrainingOrchestrator:
    monkeypatch.setenv("MLINFRA_FEATURE_STORE_URI", str(feature_store.root))
    orchestrator = get_training_orchestrator(
        model_config=ModelConfig(parameters={"hiddenSize": 8, "convChannels": [8]}),
        trainer_config=TrainerConfig(epochs=2),
    )
    orchestrator.experiment_name = "champions"
    orchestrator.export_folder = tmp_path
    return orchestrator


async def test_equal_takes_over_better_is_asked_for_when_said(orchestrator: TrainingOrchestrator) -> None:
    client = MlflowClient()
    first = await orchestrator.train_model("rivals", min_accuracy_for_promotion=0.5)
    assert (first["promoted"], first["champion"]) == (True, None), first
    assert CHAMPION_TAG not in client.get_run(first["run_id"]).data.tags

    second = await orchestrator.train_model("rivals", min_accuracy_for_promotion=0.5)
    run = client.get_run(second["run_id"])
    assert run.data.tags[CHAMPION_TAG] == "1"
    assert run.data.metrics["champion_test_accuracy"] == run.data.metrics["test_accuracy"]
    assert second["champion"]["test_metrics"]["accuracy"] == second["test_metrics"]["accuracy"]
    assert second["champion"]["test_metrics"]["log_loss"] == pytest.approx(
        second["test_metrics"]["log_loss"], rel=1e-4
    )
    assert (second["promoted"], second["version"]) == (True, "2")

    third = await orchestrator.train_model(
        "rivals", min_accuracy_for_promotion=0.5, min_improvement_for_promotion=0.01
    )
    assert (third["promoted"], third["stage"]) == (False, "None")
    assert "version 2 in Production has" in third["promotion_reason"]
    assert str(client.get_model_version_by_alias("rivals", "production").version) == "2"


async def test_a_champion_that_mlinfra_did_not_train_is_not_replaced_unseen(
    orchestrator: TrainingOrchestrator, feature_store: FeatureStore
) -> None:
    with get_mlflow_tracker(experiment_name="champions") as tracker:
        tracker.start_run("foreign")
        identity = onnx.helper.make_model(
            onnx.helper.make_graph(
                [onnx.helper.make_node("Identity", ["x"], ["y"])],
                "identity",
                [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 1])],
                [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 1])],
            ),
            opset_imports=[onnx.helper.make_opsetid("", 18)],
            ir_version=9,
        )
        version = tracker.register_model(tracker.log_model(identity, "foreign"), "foreign")
        tracker.transition_model_stage("foreign", version, "production")
    result = await orchestrator.train_model("foreign", min_accuracy_for_promotion=0.5)
    assert result["success"], result
    assert (result["promoted"], result["stage"]) == (False, "None")
    assert "mlinfra did not train it" in result["champion"]["problem"]
    run = MlflowClient().get_run(result["run_id"])
    assert "mlinfra did not train it" in run.data.tags[CHAMPION_PROBLEM_TAG]
    assert not any(key.startswith("champion_") for key in run.data.metrics)
