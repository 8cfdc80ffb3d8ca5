"""A model that is trained again by itself, without Kubernetes: by the clock, on drift, on a loss, or now.

    python examples/auto_retraining_example.py

The pipeline asks the model's server what its monitors say: `mlinfra serve models:/hybrid_cnn_lstm@production`
starts one on port 8080, and follows what is promoted. Without it, only the clock and you start trainings. Its
log is in logs/retraining.
"""

import asyncio

from mlinfra.retraining import RetrainingConfig, RetrainingTrigger, get_retraining_pipeline
from mlinfra.training import TrainerConfig, TrainingOrchestrator, ValidationConfig


async def main() -> None:
    """Start, train once by hand, and stop; a service of yours would go on."""
    config = RetrainingConfig(
        enable_scheduled=True,
        retraining_interval_hours=24,
        enable_drift_trigger=True,
        drift_threshold=0.15,
        enable_performance_trigger=True,
        performance_threshold=0.75,
        auto_promote_to_production=True,
    )
    # Without a trainer of yours: 50 epochs, walk-forward in five folds, on the S&P 500's history.
    trainer = TrainingOrchestrator(
        trainer_config=TrainerConfig(epochs=2),
        validation_config=ValidationConfig(strategy="WalkForward", folds=2, embargo=5),
    )
    pipeline = get_retraining_pipeline(config, trainer=trainer)
    await pipeline.start()
    print(f"running: {pipeline.is_running}, next training: {pipeline.status()['next_training_time']}")
    try:
        result = await pipeline.trigger_retraining(trigger=RetrainingTrigger.MANUAL)
    finally:
        await pipeline.stop()
    if not result["success"]:
        raise SystemExit(f"{result['reason']}: {result['error']}")
    print(f"version {result['version']} is in stage {result['stage']}: {result['promotion_reason']}")
    print(f"running: {pipeline.is_running}")


if __name__ == "__main__":
    asyncio.run(main())
