"""The checkpoints of one training: what is kept, when, and from which of them it goes on.

Every process of a training holds one of these and calls it at the same moments; the first one alone reads
and writes, and tells the others what it read.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlinfra.training.checkpoint_folder import CheckpointFolder
from mlinfra.training.checkpoint_format import decode, encode
from mlinfra.training.config import TrainingConfig
from mlinfra.training.epochs import Epoch
from mlinfra.training.errors import CheckpointMismatchError, CorruptCheckpointError
from mlinfra.training.processes import Processes
from mlinfra.training.rows import LabelledRows


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a checkpoint belongs to: digests of the configuration and of the rows."""

    config: str
    rows: str


@dataclass(frozen=True, slots=True)
class FinishedFold:
    """A fold that was trained and tested before the one at hand."""

    epochs: tuple[Epoch, ...]
    metrics: Mapping[str, float]


@dataclass(slots=True)
class Checkpoints:
    """Keeps the state of a training, and gives it back to one that goes on.

    Args:
        folder: where they are; None in every process but the first.
        every_epochs: epochs between two of them; there is one more when a fit ends or is interrupted.
        keep_last: how many are kept.
        must_resume: whether having nothing to go on from is an error.
        processes: the processes of the training.
        on_notice: told what a person should know, such as that a damaged checkpoint was passed over.
    """

    folder: CheckpointFolder | None
    every_epochs: int
    keep_last: int = 2
    must_resume: bool = False
    processes: Processes = field(default_factory=Processes)
    on_notice: Callable[[str], None] = lambda _: None
    finished: list[FinishedFold] = field(default_factory=list)
    begun_anew: bool = False
    _fingerprint: Fingerprint | None = None
    _pending: Mapping[str, Any] | None = None

    def open(self, fingerprint: Fingerprint) -> None:
        """Find the newest checkpoint that can be gone on from.

        Raises:
            CheckpointMismatchError: it belongs to other parameters, or, where this must resume, other rows.
            CorruptCheckpointError: this must resume, and there is none that is whole.
            CheckpointStorageError: the folder cannot be read, or not be written.
        """
        self._fingerprint = fingerprint
        found = None
        if self.folder is not None:
            # Better told now than after the first epochs.
            self.folder.check_writable()
            found = self._newest(self.folder, fingerprint)
        if self.processes.size > 1:
            found = decode(self.processes.broadcast(encode(found)))
        if found is None:
            return
        self.finished = [
            FinishedFold(tuple(map(Epoch.of_state, fold["epochs"])), fold["metrics"])
            for fold in found["finished"]
        ]
        self._pending = found["fit"]

    @property
    def resumed_epochs(self) -> tuple[Epoch, ...]:
        """Epochs of the fold at hand that the training goes on from, before `load` is called."""
        epochs = self._pending["epochs"] if self._pending is not None else ()
        return tuple(map(Epoch.of_state, epochs))

    def load(self) -> Mapping[str, Any] | None:
        """The state of the fit that begins now, once; None where it begins anew."""
        state, self._pending = self._pending, None
        return state

    def due(self, epochs: int) -> bool:
        """Whether a checkpoint is to be written after so many epochs of a fit."""
        return epochs % self.every_epochs == 0

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the state of the fit at hand; returns in every process when it is kept.

        Raises:
            CheckpointStorageError: it cannot be written.
        """
        if self.folder is not None:
            if self._fingerprint is None:
                raise RuntimeError("open() comes before save()")
            done = sum(len(fold.epochs) for fold in self.finished) + len(state["epochs"])
            self.folder.write(
                f"{len(self.finished) + 1:03d}-{done:08d}-{state['batches_done']:08d}",
                {
                    "config": self._fingerprint.config,
                    "rows": self._fingerprint.rows,
                    "finished": [
                        {"epochs": [epoch.state() for epoch in fold.epochs], "metrics": dict(fold.metrics)}
                        for fold in self.finished
                    ],
                    "fit": state,
                },
            )
            self.folder.keep(self.keep_last)
        self.processes.wait()

    def finish_fold(self, epochs: Sequence[Epoch], metrics: Mapping[str, float]) -> None:
        """Take note that the fold at hand is trained and tested; later checkpoints tell of it."""
        self.finished.append(FinishedFold(tuple(epochs), dict(metrics)))

    def _newest(self, folder: CheckpointFolder, fingerprint: Fingerprint) -> Any | None:
        names = folder.names()
        for name in names:
            try:
                found = folder.read(name)
            except CorruptCheckpointError as error:
                self.on_notice(f"Checkpoint {name} in {folder.where} is passed over: {error}.")
                continue
            if found["config"] != fingerprint.config:
                raise CheckpointMismatchError(
                    f"Checkpoint {name} in {folder.where} belongs to a training with other parameters. "
                    "Go on with the parameters it had, or train anew without it."
                )
            if found["rows"] == fingerprint.rows:
                epochs = len(found["fit"]["epochs"])
                self.on_notice(f"The training goes on from checkpoint {name}, after {epochs} epochs.")
                return found
            told = f"Checkpoint {name} in {folder.where} belongs to other rows than there are now."
            if self.must_resume:
                raise CheckpointMismatchError(f"{told} Train anew without it.")
            self.on_notice(f"{told} The training begins anew.")
            self.begun_anew = True
            folder.keep(0)
            return None
        if self.must_resume:
            raise CorruptCheckpointError(
                f"There is no checkpoint to go on from in {folder.where}: of {len(names)} none is whole."
            )
        return None


def fingerprint_of(config: TrainingConfig, rows: LabelledRows) -> Fingerprint:
    """What a training's checkpoints belong to; the export may change, since nothing trained depends on it."""
    wire = {name: part for name, part in config.to_wire().items() if name != "export"}
    digest = hashlib.sha256()
    for values in (rows.features, rows.label, rows.time, rows.entity):
        digest.update(f"{values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    digest.update(json.dumps([rows.feature_names, [str(value) for value in rows.classes]]).encode())
    config_digest = hashlib.sha256(json.dumps(wire, sort_keys=True).encode()).hexdigest()
    return Fingerprint(config_digest, digest.hexdigest())
