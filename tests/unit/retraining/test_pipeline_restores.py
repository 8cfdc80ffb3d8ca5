"""The pipeline without Kubernetes: a version that is to have Production again, and what comes between."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlinfra.retraining import RetrainingConfig, RetrainingPipeline
from mlinfra.tracking.errors import TrackingRefusedError, TrackingUnavailableError

SECONDS = 5.0


class Trainer:
    """Promotes what it trains, and restores as it is told to."""

    def __init__(self, *restores: Exception | None) -> None:
        self._restores = list(restores)
        self.restored: list[str] = []
        self.trained = 0

    async def train_model(self, model_name: str, **_: Any) -> dict[str, Any]:
        self.trained += 1
        return {
            "success": True,
            "version": "3",
            "stage": "Production",
            "promotion_reason": "",
            "champion": None,
        }

    async def restore_production(self, model_name: str, version: str) -> None:
        self.restored.append(version)
        if self._restores and (error := self._restores.pop(0)) is not None:
            raise error


def pipeline(tmp_path: Path, trainer: Trainer, *, scheduled: bool = False) -> RetrainingPipeline:
    """One that was killed after it had decided to restore version 1."""
    config = RetrainingConfig(
        log_folder=tmp_path,
        enable_scheduled=scheduled,
        retraining_interval_hours=1e-6,
        check_interval_seconds=0.01,
        enable_drift_trigger=False,
        enable_performance_trigger=False,
    )
    made = RetrainingPipeline(config, trainer)
    made._state.restore = "1"
    made._keep()
    return RetrainingPipeline(config, trainer)


def log(folder: Path) -> str:
    return "".join(file.read_text() for file in folder.glob("*.log"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("error", [TrackingUnavailableError("away"), RuntimeError("unexpected")])
async def test_a_restore_is_tried_until_it_works(error: Exception, tmp_path: Path) -> None:
    trainer = Trainer(error, None)
    subject = pipeline(tmp_path, trainer)
    await subject.start()
    await until(lambda: len(trainer.restored) == 2)
    await subject.stop()
    again = RetrainingPipeline(subject.config, trainer)
    await again.start()
    await again.stop()
    assert trainer.restored == ["1", "1"]


async def test_a_version_that_is_gone_holds_up_no_training(tmp_path: Path) -> None:
    trainer = Trainer(TrackingRefusedError("no version 1"))
    subject = pipeline(tmp_path, trainer, scheduled=True)
    await subject.start()
    await until(lambda: trainer.trained > 0)
    await subject.stop()
    assert trainer.restored == ["1"]
    assert "cannot have Production again: no version 1" in log(tmp_path)


async def test_a_newer_promotion_is_not_undone(tmp_path: Path) -> None:
    trainer = Trainer()
    subject = pipeline(tmp_path, trainer, scheduled=True)
    await subject.trigger_retraining()
    await subject.start()
    await until(lambda: trainer.trained > 1)
    await subject.stop()
    assert trainer.restored == []
