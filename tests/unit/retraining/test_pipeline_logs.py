"""The pipeline without Kubernetes: each tells in its own file, to the end of its last training."""

import asyncio
import logging
from pathlib import Path
from typing import Any

from mlinfra.retraining import RetrainingConfig, RetrainingPipeline


class Trainer:
    """Trains until it may end."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def train_model(self, model_name: str, **_: Any) -> dict[str, Any]:
        self.begun.set()
        await self.may_end.wait()
        told = {"version": "7", "stage": "Production", "promotion_reason": "good enough", "champion": None}
        return {"success": True, **told}

    async def restore_production(self, model_name: str, version: str) -> None:
        raise AssertionError("nothing is to be restored")


def pipeline(folder: Path, trainer: Trainer, model: str) -> RetrainingPipeline:
    config = RetrainingConfig(
        model_name=model, log_folder=folder, enable_drift_trigger=False, enable_performance_trigger=False
    )
    return RetrainingPipeline(config, trainer)


def log(folder: Path, model: str) -> str:
    return (folder / f"{model}.log").read_text()


def open_files() -> int:
    return len(logging.getLogger("mlinfra.retraining.pipeline").handlers)


async def test_a_training_that_outlives_stop_tells_what_it_came_to(tmp_path: Path) -> None:
    trainer = Trainer()
    subject = pipeline(tmp_path, trainer, "prices")
    await subject.start()
    asked = asyncio.create_task(subject.trigger_retraining())
    await trainer.begun.wait()
    refused = await subject.trigger_retraining()
    assert refused["reason"] == "TrainingActive"
    await subject.stop()
    trainer.may_end.set()
    assert (await asked)["success"]
    assert "Version 7 of prices is in stage Production: good enough" in log(tmp_path, "prices")
    assert open_files() == 0


async def test_one_that_is_started_while_it_stops_goes_on_with_its_log(tmp_path: Path) -> None:
    trainer = Trainer()
    trainer.may_end.set()
    subject = pipeline(tmp_path, trainer, "prices")
    await subject.start()
    await asyncio.gather(subject.stop(), subject.start())
    assert subject.is_running
    assert (await subject.trigger_retraining())["success"]
    assert "Version 7 of prices" in log(tmp_path, "prices")
    await subject.stop()
    assert open_files() == 0


async def test_the_log_of_one_model_has_nothing_of_anothers(tmp_path: Path) -> None:
    trainer = Trainer()
    trainer.may_end.set()
    first, second = (pipeline(tmp_path, trainer, model) for model in ("prices", "volumes"))
    await first.start()
    await second.start()
    await first.trigger_retraining()
    await first.stop()
    await second.stop()
    assert log(tmp_path, "prices").count("Version 7 of prices") == 1
    assert "prices" not in log(tmp_path, "volumes")
