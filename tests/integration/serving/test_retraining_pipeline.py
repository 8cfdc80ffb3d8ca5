"""The retraining loop without Kubernetes: a real server is watched, and the real trainer trains."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from integration.serving.adder_traffic import ROWS, infer, label_at, normal
from integration.serving.conftest import Started
from mlflow import MlflowClient

from mlinfra.features import get_feature_store
from mlinfra.features.own_data import import_file
from mlinfra.retraining import (
    RetrainingConfig,
    RetrainingPipeline,
    RetrainingTrigger,
    get_retraining_pipeline,
)
from mlinfra.retraining.pipeline_state import PipelineStateError
from mlinfra.training import DataConfig, ModelConfig, TrainerConfig, TrainingOrchestrator

SECONDS = 120.0


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingOrchestrator:
    """Learns the sum of two numbers within a second or two."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLINFRA_FEATURE_STORE_URI", (tmp_path / "store").as_uri())
    generator = np.random.default_rng(5)
    frame = pd.DataFrame(generator.normal(size=(400, 2)), columns=["open", "close"])
    frame["next"] = frame["open"] + frame["close"]
    frame["time"] = pd.date_range("2025-01-01", periods=len(frame), freq="h")
    frame.to_csv(tmp_path / "prices.csv", index=False)
    store = get_feature_store(str(tmp_path / "store"))
    import_file(store, tmp_path / "prices.csv", label="next", timestamp="time", feature_group="prices")
    return TrainingOrchestrator(
        model_config=ModelConfig(architecture="mlp"),
        trainer_config=TrainerConfig(epochs=3),
        data_config=DataConfig(
            feature_group="prices",
            label="next",
            task="Regression",
            features=["open", "close"],
            window_length=1,
        ),
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
    )


def config(tmp_path: Path, **values: object) -> RetrainingConfig:
    fields: dict[str, object] = {
        "model_name": "adder",
        "enable_scheduled": False,
        "performance_metric": "mae",
        "performance_threshold": 0.5,
        "on_drift": "Retrain",
        "drift_threshold": 0.3,
        "window_rows": ROWS // 2,
        "check_interval_seconds": 0.1,
        "log_folder": tmp_path / "logs",
    }
    return RetrainingConfig(**{**fields, **values})  # type: ignore[arg-type]  # one of each field's type


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not reached():
            await asyncio.sleep(0.05)


def versions(tmp_path: Path) -> int:
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db", f"sqlite:///{tmp_path}/mlflow.db")
    return len(client.search_model_versions("name='adder'"))


def log(tmp_path: Path) -> str:
    return (tmp_path / "logs" / "adder.log").read_text()


async def test_drift_of_what_is_served_trains_once(
    start: Started, trainer: TrainingOrchestrator, tmp_path: Path
) -> None:
    server = start()
    for number in range(3):
        infer(server, normal(ROWS, number, mean=4.0), id=f"r{number}", hour=number)
    watching = config(tmp_path, server_url=server.url)
    pipeline = get_retraining_pipeline(watching, trainer=trainer)
    await pipeline.start()
    await pipeline.start()
    assert pipeline.is_running
    await until(lambda: "Version 1 of adder" in log(tmp_path))
    status = pipeline.status()
    assert (status["is_running"], status["is_training"]) == (True, False)
    assert status["last_training_time"] is not None
    assert status["last_drift_check_time"] is not None
    await pipeline.stop()
    assert not pipeline.is_running
    # The windows that asked for it are answered, also for one that starts later.
    later = get_retraining_pipeline(watching, trainer=trainer)
    await later.start()
    await until(lambda: later.status()["last_drift_check_time"] is not None)
    await until(lambda: log(tmp_path).count("RetrainingNeeded") == 2)
    await later.stop()
    assert versions(tmp_path) == 1
    assert log(tmp_path).count("Training by trigger drift") == 1
    assert "open" in log(tmp_path)


async def test_a_version_that_does_worse_gives_way_to_the_one_before(
    start: Started, trainer: TrainingOrchestrator, tmp_path: Path
) -> None:
    trainer.trainer_config = TrainerConfig(epochs=10, learning_rate=0.01)
    trained = await trainer.train_model("adder", min_accuracy_for_promotion=0.0)
    assert (trained["version"], trained["stage"]) == ("1", "Production"), trained
    server = start(
        MLINFRA_SERVED_MODEL="models:/adder@production",
        MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db",
        MLINFRA_SERVING_FOLLOW_SECONDS="0.2",
    )
    watching = config(
        tmp_path, server_url=server.url, enable_drift_trigger=False, rollback_observation_hours=24
    )
    pipeline = get_retraining_pipeline(watching, trainer=trainer)
    await pipeline.start()

    async def judged(version: str, hour: int, *, off: float) -> None:
        """What a version answers gets its labels."""
        url = f"{server.url}/v2/models/adder"
        await until(lambda: httpx.get(url).json()["versions"] == [version])
        for number in range(3):
            told = f"v{version}-{number}"
            label_at(url, told, infer(server, normal(ROWS, number), id=told, hour=hour + number), off=off)

    await judged("1", 1, off=0.01)
    await until(lambda: [each["outcome"] for each in pipeline.status()["monitors"]] == ["ok"])
    trainer.trainer_config = TrainerConfig(epochs=60, learning_rate=0.01)
    second = await pipeline.trigger_retraining()
    assert (second["version"], second["stage"]) == ("2", "Production"), second
    await judged("2", 5, off=3.0)
    await until(lambda: "Version 1 is in Production again: version 2 has mae" in log(tmp_path))
    await until(lambda: httpx.get(f"{server.url}/v2/models/adder").json()["versions"] == ["1"])
    await pipeline.stop()
    again = get_retraining_pipeline(watching, trainer=trainer)
    await again.start()
    assert "version 2 has mae" in str(again.status()["circuit_breaker"])
    # A person who asks closes it.
    await again.trigger_retraining()
    assert again.status()["circuit_breaker"] is None
    await again.stop()


async def test_a_server_that_does_not_answer_trains_nothing(
    trainer: TrainingOrchestrator, tmp_path: Path
) -> None:
    pipeline = get_retraining_pipeline(config(tmp_path, server_url="http://127.0.0.1:9"), trainer=trainer)
    await pipeline.start()
    await until(lambda: "CheckFailed: http://127.0.0.1:9" in log(tmp_path))
    await pipeline.stop()
    assert pipeline.status()["last_training_time"] is None


async def test_a_server_that_asks_for_a_token_gets_it(
    start: Started, trainer: TrainingOrchestrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(MLINFRA_SERVING_TOKEN="a-token-of-ours")
    pipeline = get_retraining_pipeline(config(tmp_path, server_url=server.url), trainer=trainer)
    await pipeline.start()
    await until(lambda: "HTTP 401: the call needs the header Authorization" in log(tmp_path))
    monkeypatch.setenv("MLINFRA_SERVING_TOKEN", "a-token-of-ours")
    await until(lambda: {each["outcome"] for each in pipeline.status()["monitors"]} == {"inconclusive"})
    await pipeline.stop()


async def test_asked_for_by_a_caller_one_at_a_time(trainer: TrainingOrchestrator, tmp_path: Path) -> None:
    pipeline = get_retraining_pipeline(config(tmp_path), trainer=trainer)
    assert not pipeline.is_running
    first = asyncio.create_task(pipeline.trigger_retraining(trigger=RetrainingTrigger.MANUAL))
    await until(lambda: bool(pipeline.status()["is_training"]))
    second = await pipeline.trigger_retraining("drift")
    assert (second["success"], second["reason"], second["trigger"]) == (False, "TrainingActive", "drift")
    result = await first
    assert (result["success"], result["version"], result["trigger"]) == (True, "1", "manual")
    assert "Training by trigger manual" in log(tmp_path)


async def test_a_schedule_that_passed_while_it_was_down_trains_once(
    trainer: TrainingOrchestrator, tmp_path: Path
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    timed = config(
        tmp_path,
        enable_scheduled=True,
        retraining_interval_hours=24,
        enable_drift_trigger=False,
        enable_performance_trigger=False,
    )

    def pipeline() -> RetrainingPipeline:
        return RetrainingPipeline(timed, trainer, clock=lambda: now)

    first = pipeline()
    await first.start()
    assert first.status()["next_training_time"] == (now + timedelta(days=1)).isoformat()
    await first.stop()
    now += timedelta(days=3, hours=1)
    second = pipeline()
    await second.start()
    await until(lambda: "Version 1 of adder" in log(tmp_path))
    assert second.status()["next_training_time"] == (now + timedelta(days=1)).isoformat()
    await second.stop()
    assert versions(tmp_path) == 1


async def test_a_state_that_cannot_be_read_starts_nothing(
    trainer: TrainingOrchestrator, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "adder.json").write_text(json.dumps({"trainings": 1}))
    pipeline = get_retraining_pipeline(config(tmp_path), trainer=trainer)
    with pytest.raises(PipelineStateError, match=r"adder\.json cannot be read"):
        await pipeline.start()
    assert not pipeline.is_running
