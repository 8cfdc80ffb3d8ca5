"""``python -m mlinfra.serving``: serves the model that the pod's environment names.

Exit codes: 0 after SIGTERM, 78 where the model or a setting can never work, 1 after any other error.
"""

import logging
import os
import sys
import time
import traceback

from mlinfra import __version__
from mlinfra.errors import InvalidInputError, MlinfraError
from mlinfra.resources.names import EXIT_INVALID_INPUT
from mlinfra.serving.process import serve
from mlinfra.serving.settings import settings_from
from mlinfra.tracking.errors import UnusableModelError
from mlinfra.training.pod import EXIT_FAILURE, cut, refusal, write_termination_message

MAX_MESSAGE_BYTES = 4096


def main() -> int:
    """Serve; gives the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    say(f"mlinfra {__version__} model server starts")
    try:
        serve(settings_from(os.environ, {}), say=say)
    except (InvalidInputError, UnusableModelError) as error:
        say(f"error: {error}")
        reason = error.reason if isinstance(error, InvalidInputError) else "UnusableModel"
        write_termination_message(os.environ, refusal(reason, str(error)))
        return EXIT_INVALID_INPUT
    except Exception as error:
        if isinstance(error, MlinfraError):
            say(f"error: {error}")
        else:
            traceback.print_exc()
        write_termination_message(os.environ, cut(f"{type(error).__name__}: {error}", MAX_MESSAGE_BYTES))
        return EXIT_FAILURE
    say("ended in order")
    return 0


def say(line: str) -> None:
    """One line for ``kubectl logs``, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
