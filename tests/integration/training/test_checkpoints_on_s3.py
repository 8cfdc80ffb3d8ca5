"""Checkpoints on a real S3 server: written, found, replaced, pruned; a bucket that is missing is told."""

import uuid
from collections.abc import Iterator

import pytest
import torch
from servers.s3_server import s3_server

from mlinfra.training.checkpoint_folder import newest_run, open_folder
from mlinfra.training.checkpoints import Checkpoints, Fingerprint
from mlinfra.training.errors import CheckpointStorageError

THIS = Fingerprint("config", "rows")


@pytest.fixture(autouse=True)
def _mlflow_environment() -> None:
    """Nothing here speaks to MLflow."""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server("checkpoints") as uri:
        yield uri


def test_a_training_goes_on_from_the_newest_object(bucket: str) -> None:
    place = f"{bucket}/{uuid.uuid4().hex}"
    for epochs in (1, 2, 3, 3):
        checkpoints = Checkpoints(open_folder(place, "model", "run"), every_epochs=1, keep_last=2)
        checkpoints.open(THIS)
        state = {"epochs": [{}] * epochs, "batches_done": 0, "weight": torch.full((3,), float(epochs))}
        checkpoints.save(state)
    folder = open_folder(place, "model", "run")
    assert folder.names() == ["001-00000003-00000000", "001-00000002-00000000"]
    assert newest_run(place, "model") == "run"
    assert newest_run(place, "another model") is None
    found = Checkpoints(folder, every_epochs=1)
    found.open(THIS)
    state = found.load() or {}
    assert torch.equal(state["weight"], torch.full((3,), 3.0))


def test_a_bucket_that_is_missing_is_told_before_anything_is_trained(bucket: str) -> None:
    checkpoints = Checkpoints(open_folder(f"{bucket}-missing", "model", "run"), every_epochs=1)
    with pytest.raises(CheckpointStorageError, match="checkpoints at s3://checkpoints-missing/model/run"):
        checkpoints.open(THIS)
