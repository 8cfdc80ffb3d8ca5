"""Checkpoints of trainings on this machine: in a folder beside the models, or wherever one says."""

from collections.abc import Callable
from dataclasses import dataclass

from mlinfra.training.checkpoint_folder import newest_run, open_folder
from mlinfra.training.checkpoints import Checkpoints
from mlinfra.training.errors import NothingToResumeError
from mlinfra.training.processes import Processes

DEFAULT_PLACE = "data/checkpoints"


@dataclass(frozen=True, slots=True)
class LocalCheckpoints:
    """What is asked for.

    Attributes:
        place: a folder, ``file:///path`` or ``s3://bucket/path``; each run has a folder of its own below it.
        every_epochs: epochs between two checkpoints.
        keep_last: how many of a run are kept.
        resume: whether to go on with the model's run whose checkpoint was written last, instead of a new run.
    """

    place: str = DEFAULT_PLACE
    every_epochs: int = 1
    keep_last: int = 2
    resume: bool = False

    def run_to_resume(self, model_name: str) -> str | None:
        """ID of the run to go on with; None for a new one.

        Raises:
            NothingToResumeError: this must resume, and the model has no checkpoint.
            CheckpointStorageError: the place cannot be used.
        """
        if not self.resume:
            return None
        run_id = newest_run(self.place, model_name)
        if run_id is None:
            raise NothingToResumeError(
                f"There is no checkpoint of {model_name} in {self.place} to go on from: train it anew, with "
                "checkpoints."
            )
        return run_id

    def open(
        self, model_name: str, run_id: str, *, processes: Processes, on_notice: Callable[[str], None]
    ) -> Checkpoints:
        """The checkpoints of a run.

        Raises:
            CheckpointStorageError: the place cannot be used.
        """
        return Checkpoints(
            open_folder(self.place, model_name, run_id),
            every_epochs=self.every_epochs,
            keep_last=self.keep_last,
            must_resume=self.resume,
            processes=processes,
            on_notice=on_notice,
        )
