"""Two real processes train as one does: the same losses, and a clear error where one of them dies."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlinfra.resources.built_in_training import TrainingData, TrainingParameters, Validation
from mlinfra.training.checkpoint_folder import open_folder
from mlinfra.training.checkpoints import Checkpoints, fingerprint_of
from mlinfra.training.config import ModelConfig, TrainingConfig
from mlinfra.training.epochs import Epoch
from mlinfra.training.errors import InvalidProcessesError, PeerLostError, TrainingInterruptedError
from mlinfra.training.folds import TrainedFold, evaluate_fold, prepare, train_folds
from mlinfra.training.interruption import Interruption
from mlinfra.training.launcher import local_processes
from mlinfra.training.rows import RowKeys

KEYS = RowKeys()


@pytest.fixture(autouse=True)
def _mlflow_environment() -> None:
    """Nothing here speaks to MLflow."""


def rows(count: int = 203) -> pd.DataFrame:
    random = np.random.default_rng(7)
    values = random.normal(size=(count, 3))
    frame = pd.DataFrame(values, columns=["a", "b", "c"])
    frame["up"] = (values[:, 0] + 0.3 * values[:, 1] > 0).astype(int)
    frame["event_timestamp"] = pd.date_range("2020-01-01", periods=count, freq="D")
    return frame


def config(**training: Any) -> TrainingConfig:
    """The last batch of an epoch holds one sample: one of two processes has no share of it."""
    return TrainingConfig(
        data=TrainingData(feature_group="g", label="up", window_length=4),
        model=ModelConfig(parameters={"hiddenSize": 4, "convChannels": [4], "dropout": 0.0}),
        training=TrainingParameters(
            **{"epochs": 4, "batch_size": 67, "learning_rate": 0.02, "gradient_clip_norm": 0.5, **training}
        ),
        validation=Validation(strategy="WalkForward", folds=2, validation_fraction=0.1, embargo=2),
    )


def train(
    processes: int,
    asked: TrainingConfig,
    *,
    on_epoch: Any = lambda _: None,
    interruption: Interruption | None = None,
    checkpoints: Checkpoints | None = None,
) -> list[TrainedFold]:
    frame = rows()
    preparation = prepare(asked, frame, KEYS)
    every = checkpoints.every_epochs if checkpoints is not None else None
    with local_processes(
        processes, asked, frame, KEYS, checkpoint_every=every, interruption=interruption
    ) as runtime:
        if checkpoints is not None:
            checkpoints.processes = runtime.processes
            checkpoints.open(fingerprint_of(asked, preparation.rows))
        folds = []
        for fold in train_folds(preparation, runtime=runtime, on_epoch=on_epoch, checkpoints=checkpoints):
            folds.append(fold)
            if checkpoints is not None:
                checkpoints.finish_fold(fold.fit.epochs, {})
        return folds


def losses(folds: list[TrainedFold]) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.val_loss) for fold in folds for epoch in fold.fit.epochs]


@pytest.fixture(scope="module")
def alone() -> list[TrainedFold]:
    folds = train(1, config())
    assert len(folds[0].samples.train.last_rows) % 67 == 1
    return folds


def test_two_processes_have_the_losses_of_one(alone: list[TrainedFold]) -> None:
    together = train(2, config())
    assert len(losses(together)) == 8
    assert np.allclose(losses(together), losses(alone), rtol=0, atol=1e-5)
    answers = [evaluate_fold(folds[-1], config(), device=_cpu())[0] for folds in (together, alone)]
    assert np.allclose(*answers, rtol=0, atol=1e-4)


def test_two_processes_stop_after_the_same_batch_and_go_on(alone: list[TrainedFold], tmp_path: Path) -> None:
    interruption = Interruption()

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            interruption.request()

    with pytest.raises(TrainingInterruptedError, match="after 2 of 4 epochs"):
        train(
            2,
            config(),
            on_epoch=stop,
            interruption=interruption,
            checkpoints=Checkpoints(open_folder(str(tmp_path)), every_epochs=100),
        )
    checkpoints = Checkpoints(open_folder(str(tmp_path)), every_epochs=100, must_resume=True)
    resumed = train(2, config(), checkpoints=checkpoints)
    assert np.allclose(losses(resumed), losses(alone), rtol=0, atol=1e-5)


def test_a_process_that_is_killed_ends_the_training_with_an_error() -> None:
    def kill(epoch: Epoch) -> None:
        if epoch.number == 2:
            (helper,) = _helpers()
            os.kill(helper, signal.SIGKILL)

    with pytest.raises(PeerLostError, match="Process 0 of 2 lost another one: it ended, or did not answer"):
        train(2, config(epochs=1000), on_epoch=kill)
    assert _helpers() == []


def test_a_process_that_cannot_start_ends_the_training_with_its_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('this torch is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(PeerLostError, match="this torch is broken"):
        train(2, config())


def test_no_process_is_refused() -> None:
    with pytest.raises(InvalidProcessesError, match="processes: 0 is not between 1 and 64"):
        train(0, config())


def _cpu() -> Any:
    import torch

    return torch.device("cpu")


def _helpers() -> list[int]:
    """Processes that this one started to help."""
    children = "".join((task / "children").read_text() for task in Path("/proc/self/task").iterdir()).split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, command in commands.items() if b"mlinfra.training.helper" in command]
