"""``python -m mlinfra.training.helper FOLDER RANK``: a process that mlinfra.training.launcher starts."""

import os
import sys
import threading
from pathlib import Path

from mlinfra.errors import MlinfraError
from mlinfra.training.errors import TrainingInterruptedError

EXIT_FAILURE = 1


def main(folder: Path, rank: int) -> int:
    """Train along with the first process; what goes wrong is told on standard error."""
    threading.Thread(target=_end_with_the_first_process, daemon=True).start()
    from mlinfra.training.checkpoints import Checkpoints
    from mlinfra.training.folds import prepare, take_part
    from mlinfra.training.launcher import HelperTask, meeting_in, ready_file
    from mlinfra.training.processes import joined
    from mlinfra.training.runtime import Runtime, choose_device

    task, frame = HelperTask.read(folder)
    device = choose_device(rank)
    preparation = prepare(task.config, frame, task.keys)
    ready_file(folder, rank).touch()
    try:
        with joined(rank, task.processes, device=device, meeting=meeting_in(folder)) as processes:
            checkpoints = None
            if task.checkpoint_every is not None:
                checkpoints = Checkpoints(None, task.checkpoint_every, processes=processes)
            take_part(preparation, runtime=Runtime(device, processes), checkpoints=checkpoints)
    except TrainingInterruptedError:
        return 0
    except MlinfraError as error:
        print(error, file=sys.stderr, flush=True)
        return EXIT_FAILURE
    return 0


def _end_with_the_first_process() -> None:
    """Standard input is a pipe that the first process holds: it ends when that process does."""
    sys.stdin.buffer.read()
    os._exit(EXIT_FAILURE)


if __name__ == "__main__":
    os._exit(main(Path(sys.argv[1]), int(sys.argv[2])))
