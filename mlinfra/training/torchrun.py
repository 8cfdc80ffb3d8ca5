"""``python -m mlinfra.training.torchrun``: torchrun, which tells its pod that bad input needs no retry.

torchrun itself ends with 1 whatever its processes ended with, and the Job would try bad input again.
"""

import sys

from mlinfra.resources.names import EXIT_INVALID_INPUT


def main(arguments: list[str]) -> int:
    """Run torchrun with its own arguments; the exit code of bad input where one process ended with it.

    Raises:
        ChildFailedError: a process failed for another reason.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(arguments)
    except ChildFailedError as error:
        if any(failure.exitcode == EXIT_INVALID_INPUT for failure in error.failures.values()):
            return EXIT_INVALID_INPUT
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
