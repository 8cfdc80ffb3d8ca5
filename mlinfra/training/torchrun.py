"""``python -m mlinfra.training.torchrun``: torchrun, which tells its pod how its processes ended.

torchrun itself ends with 1 whatever they ended with: the Job would try bad input again, and count a pod
as failed that only stopped because a peer had to go.
"""

import signal
import sys

from mlinfra.resources.names import EXIT_INVALID_INPUT, EXIT_TERMINATED


def main(arguments: list[str]) -> int:
    """Run torchrun with its own arguments.

    Returns:
        The exit code of bad input where one process ended with it; that of a stop where all did, or torchrun
        itself was asked to; else 0.

    Raises:
        ChildFailedError: a process failed for another reason.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(arguments)
    except SignalException as error:
        if error.sigval != signal.SIGTERM:
            raise
        return EXIT_TERMINATED
    except ChildFailedError as error:
        codes = {failure.exitcode for failure in error.failures.values()}
        if EXIT_INVALID_INPUT in codes:
            return EXIT_INVALID_INPUT
        if codes == {EXIT_TERMINATED}:
            return EXIT_TERMINATED
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
