"""Which checkpoint a training goes on from, and that it then ends as if it had never been interrupted."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.features.storage import open_storage
from mlinfra.models.normalized import NormalizedNetwork
from mlinfra.resources.built_in_training import (
    EarlyStopping,
    LearningRateScheduler,
    TrainingData,
    TrainingParameters,
    Validation,
)
from mlinfra.training.checkpoint_folder import CheckpointFolder, newest_run, open_folder
from mlinfra.training.checkpoints import Checkpoints, Fingerprint, fingerprint_of
from mlinfra.training.config import TrainingConfig
from mlinfra.training.epochs import Epoch, Fit
from mlinfra.training.errors import (
    CheckpointMismatchError,
    CheckpointStorageError,
    CorruptCheckpointError,
    TrainingInterruptedError,
)
from mlinfra.training.interruption import Interruption
from mlinfra.training.objective import Classification
from mlinfra.training.reproducibility import reproducible
from mlinfra.training.rows import LabelledRows
from mlinfra.training.runtime import Runtime
from mlinfra.training.samples import make_samples
from mlinfra.training.trainer import fit

CPU = torch.device("cpu")
THIS = Fingerprint("config", "rows")
PARAMETERS = TrainingParameters(
    epochs=5,
    batch_size=16,
    learning_rate=0.05,
    scheduler=LearningRateScheduler(name="OneCycleLR"),
    early_stopping=EarlyStopping(patience=3),
)


def rows(count: int = 120) -> LabelledRows:
    random = np.random.default_rng(3)
    features = random.normal(size=(count, 2)).astype(np.float32)
    return LabelledRows(
        features=features,
        label=(features[:, 0] > 0).astype(np.int64),
        time=np.datetime64("2020-01-01", "ns") + np.arange(count) * np.timedelta64(1, "D"),
        entity=np.zeros(count, dtype=np.int64),
        feature_names=("a", "b"),
        classes=(0, 1),
    )


SAMPLES = make_samples(rows(), Validation(), window=3)
BATCHES = -(-len(SAMPLES.train.last_rows) // PARAMETERS.batch_size)


class StopAfter(Interruption):
    """Wants to stop once so many batches were learnt."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self._left = batches

    @property
    def requested(self) -> bool:
        self._left -= 1
        return self._left <= 0

    @requested.setter
    def requested(self, value: bool) -> None:
        pass


def train(
    checkpoints: Checkpoints | None = None, interruption: Interruption | None = None
) -> tuple[Fit, dict[str, torch.Tensor]]:
    with reproducible(PARAMETERS.seed):
        layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.3), torch.nn.Linear(6, 2))
        network = NormalizedNetwork(
            layers, mean=torch.from_numpy(SAMPLES.mean), scale=torch.from_numpy(SAMPLES.scale)
        )
        fitted = fit(
            network,
            SAMPLES,
            PARAMETERS,
            objective=Classification(classes=2),
            on_epoch=lambda _: None,
            runtime=Runtime(CPU, interruption=interruption or Interruption()),
            checkpoints=checkpoints,
        )
    return fitted, network.state_dict()


def opened(folder: Path, **settings: Any) -> Checkpoints:
    checkpoints = Checkpoints(open_folder(str(folder)), **{"every_epochs": 1, **settings})
    checkpoints.open(THIS)
    return checkpoints


def losses(fitted: Fit) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.val_loss) for epoch in fitted.epochs]


WHOLE = train()


@given(st.lists(st.integers(1, 2 * BATCHES), min_size=1, max_size=4))
@settings(max_examples=25)
def test_interrupted_anywhere_and_however_often_it_ends_with_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("checkpoints")
    for batches in stops:
        with contextlib.suppress(TrainingInterruptedError):
            train(opened(folder, every_epochs=100), StopAfter(batches))
    fitted, weights = train(opened(folder, every_epochs=100))
    assert losses(fitted) == losses(WHOLE[0])
    assert fitted.best.number == WHOLE[0].best.number
    assert all(torch.equal(weights[name], WHOLE[1][name]) for name in weights)


def test_a_fit_that_was_over_is_over_again(tmp_path: Path) -> None:
    train(opened(tmp_path))
    fitted, weights = train(opened(tmp_path))
    assert losses(fitted) == losses(WHOLE[0])
    assert all(torch.equal(weights[name], WHOLE[1][name]) for name in weights)


def test_the_newest_are_kept(tmp_path: Path) -> None:
    train(opened(tmp_path, every_epochs=2, keep_last=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "001-00000004-00000000.safetensors",
        "001-00000005-00000000.safetensors",
    ]


def test_a_damaged_one_is_passed_over_with_a_notice(tmp_path: Path) -> None:
    train(opened(tmp_path))
    newest = max(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:-10])
    told: list[str] = []
    checkpoints = opened(tmp_path, on_notice=told.append)
    assert len(checkpoints.resumed_epochs) == 4
    assert "001-00000005-00000000" in told[0]
    assert "passed over" in told[0]
    assert "goes on from checkpoint 001-00000004" in told[1]
    assert losses(train(checkpoints)[0]) == losses(WHOLE[0])


def test_where_none_is_whole_it_begins_anew_or_refuses(tmp_path: Path) -> None:
    (tmp_path / "001-00000001-00000000.safetensors").write_bytes(b"")
    assert opened(tmp_path).load() is None
    with pytest.raises(CorruptCheckpointError, match="of 1 none is whole"):
        opened(tmp_path, must_resume=True)


def test_one_of_other_parameters_is_refused(tmp_path: Path) -> None:
    train(opened(tmp_path))
    checkpoints = Checkpoints(open_folder(str(tmp_path)), every_epochs=1)
    with pytest.raises(CheckpointMismatchError, match="belongs to a training with other parameters"):
        checkpoints.open(Fingerprint("another", "rows"))


def test_one_of_other_rows_is_left_unless_it_must_be_gone_on_from(tmp_path: Path) -> None:
    train(opened(tmp_path))
    changed = Fingerprint("config", "others")
    must = Checkpoints(open_folder(str(tmp_path)), every_epochs=1, must_resume=True)
    with pytest.raises(CheckpointMismatchError, match="belongs to other rows"):
        must.open(changed)
    may = Checkpoints(open_folder(str(tmp_path)), every_epochs=1)
    may.open(changed)
    assert may.load() is None
    assert may.begun_anew
    assert list(tmp_path.iterdir()) == []


def test_finished_folds_are_told_again(tmp_path: Path) -> None:
    checkpoints = opened(tmp_path)
    epoch = Epoch(1, 0.5, 0.4, {"val_accuracy": 0.9}, 0.1)
    checkpoints.finish_fold([epoch], {"test_accuracy": 0.75})
    checkpoints.save({"epochs": [epoch.state()], "batches_done": 0})
    (fold,) = opened(tmp_path).finished
    assert fold.epochs == (epoch,)
    assert fold.metrics == {"test_accuracy": 0.75}


def test_the_run_that_was_written_to_last_is_found(tmp_path: Path) -> None:
    assert newest_run(str(tmp_path), "model") is None
    for run_id in ("b", "a"):
        CheckpointFolder(open_storage(tmp_path).at(f"model/{run_id}")).write("001", {})
    assert newest_run(str(tmp_path), "model") == "a"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointStorageError, match="checkpoints at"):
        train(opened(tmp_path / "file" / "folder"))


CONFIG = TrainingConfig(data=TrainingData(feature_group="g", label="y"))


def test_the_fingerprint_follows_parameters_and_rows() -> None:
    base = fingerprint_of(CONFIG, rows())
    assert base == fingerprint_of(CONFIG, rows())
    other_seed = TrainingConfig(data=CONFIG.data, training=TrainingParameters(seed=7))
    assert fingerprint_of(other_seed, rows()).config != base.config
    assert fingerprint_of(other_seed, rows()).rows == base.rows
    assert fingerprint_of(CONFIG, rows(119)).rows != base.rows
