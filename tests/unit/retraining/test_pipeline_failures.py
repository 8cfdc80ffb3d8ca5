"""The pipeline without Kubernetes: a training that fails for whatever reason ends no loop."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mlinfra.retraining import RetrainingConfig, RetrainingPipeline, RetrainingTrigger
from mlinfra.retraining.triggers import Request

SECONDS = 5.0
FAILED = {"success": False, "error": "no rows", "reason": "TooFewRows"}


class Trainer:
    """Its trainings come to what it is told, one after the other, and then are good enough."""

    def __init__(self, *outcomes: Exception | dict[str, Any]) -> None:
        self._outcomes = list(outcomes)
        self.trained = 0

    async def train_model(self, model_name: str, **_: Any) -> dict[str, Any]:
        self.trained += 1
        outcome = self._outcomes.pop(0) if self._outcomes else {"success": True}
        if isinstance(outcome, Exception):
            raise outcome
        return {"version": "3", "stage": "Production", "promotion_reason": "", "champion": None, **outcome}

    async def restore_production(self, model_name: str, version: str) -> None:
        raise AssertionError("nothing is to be restored")


def config(folder: Path, **values: Any) -> RetrainingConfig:
    fields = {
        "log_folder": folder,
        "retraining_interval_hours": 1e-6,
        "check_interval_seconds": 0.01,
        "enable_drift_trigger": False,
        "enable_performance_trigger": False,
    }
    return RetrainingConfig(**{**fields, **values})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), OSError(28, "No space left on device")])
async def test_the_loop_goes_on_after_a_training_that_raised(error: Exception, tmp_path: Path) -> None:
    trainer = Trainer(error, FAILED)
    subject = RetrainingPipeline(config(tmp_path), trainer)
    await subject.start()
    await until(lambda: trainer.trained > 2)
    assert subject.is_running
    await subject.stop()
    assert not logging.getLogger("mlinfra.retraining.pipeline").handlers
    log = (tmp_path / "hybrid_cnn_lstm.log").read_text()
    assert f"Training failed ({type(error).__name__}): {error}" in log
    assert "Traceback" in log
    assert "Training failed (TooFewRows): no rows" in log
    assert subject.status()["last_training_failure"] is None


async def test_why_a_training_failed_is_told_and_remembered(tmp_path: Path) -> None:
    subject = RetrainingPipeline(config(tmp_path), Trainer(RuntimeError("out of memory")))
    result = await subject.trigger_retraining()
    assert result == {
        "success": False,
        "error": "out of memory",
        "reason": "RuntimeError",
        "trigger": "manual",
    }
    again = RetrainingPipeline(config(tmp_path, enable_scheduled=False), Trainer())
    await again.start()
    assert again.status()["last_training_failure"] == "RuntimeError: out of memory"
    await again.stop()


@pytest.mark.parametrize("outcome", [RuntimeError("out of memory"), FAILED])
@pytest.mark.parametrize("promotes", [True, False])
async def test_monitors_back_off_after_a_failed_training(
    outcome: Exception | dict[str, Any], promotes: bool, tmp_path: Path
) -> None:
    subject = RetrainingPipeline(config(tmp_path, auto_promote_to_production=promotes), Trainer(outcome))
    await subject._train(Request(RetrainingTrigger.PERFORMANCE, "k", "lost", datetime.now(UTC)))
    assert [each.fruitless for each in subject._state.trainings] == [True]


async def test_a_training_that_is_cancelled_did_not_fail(tmp_path: Path) -> None:
    class Endless(Trainer):
        async def train_model(self, model_name: str, **_: Any) -> dict[str, Any]:
            self.trained += 1
            await asyncio.Event().wait()
            raise AssertionError

    trainer = Endless()
    subject = RetrainingPipeline(config(tmp_path), trainer)
    await subject.start()
    await until(lambda: trainer.trained > 0)
    await subject.stop()
    assert not subject.is_running
    assert subject.status()["last_training_failure"] is None
