"""From the feature store to a model in Production: first a quick training, then one of your own making.

    python examples/train_model_example.py

Without data of your own it learns from the history of the S&P 500 whether the next five days will be
turbulent. Features lie in data/feature_store, models in data/models, runs in mlflow.db, or where
MLINFRA_FEATURE_STORE_URI and MLFLOW_TRACKING_URI say. In a notebook, `await` the two calls directly.
"""

import asyncio

from mlinfra.training import ModelConfig, TrainerConfig, TrainingOrchestrator, get_training_orchestrator


async def quick() -> None:
    """Three numbers are enough; the version is registered, and stays out of Production."""
    result = await TrainingOrchestrator().quick_train(epochs=2, batch_size=64, learning_rate=0.001)
    if not result["success"]:
        raise SystemExit(f"{result['reason']}: {result['error']}")
    print(f"quick: accuracy {result['test_metrics']['accuracy']:.1%} on {result['periods']['test']}")
    print(f"quick: run {result['run_id']}, version {result['version']}, stage {result['stage']}")


async def careful() -> None:
    """A network and a trainer of one's own; the version takes Production where it is good enough."""
    orchestrator = get_training_orchestrator(
        model_config=ModelConfig(parameters={"hiddenSize": 32}),
        trainer_config=TrainerConfig(epochs=3, batch_size=64, learning_rate=0.001),
    )
    orchestrator.on_progress = lambda epoch, progress: print(
        f"careful: epoch {progress.epoch}/{progress.epochs}, accuracy {epoch.val_metrics['val_accuracy']:.1%}"
    )
    result = await orchestrator.train_model(
        model_name="hybrid_cnn_lstm",
        export_onnx=True,
        auto_promote=True,
        min_accuracy_for_promotion=0.80,
    )
    if not result["success"]:
        raise SystemExit(f"{result['reason']}: {result['error']}")
    print(
        f"careful: accuracy {result['test_metrics']['accuracy']:.1%}, always saying the same "
        f"{result['baseline_accuracy']:.1%}"
    )
    print(f"careful: version {result['version']} is in {result['stage']}, as ONNX in {result['onnx_path']}")


async def main() -> None:
    """Both, one after the other."""
    await quick()
    await careful()


if __name__ == "__main__":
    asyncio.run(main())
