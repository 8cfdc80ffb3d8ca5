"""The file that a pipeline's log goes to while it runs or trains."""

import logging
from pathlib import Path

from mlinfra.features.files import make_folder
from mlinfra.retraining.pipeline_state import PipelineStateError


class PipelineLog:
    """Adds a logger's messages to a file while it is open.

    Args:
        logger: whose messages.
        path: the file; it and its folder are made where they are absent.
    """

    def __init__(self, logger: logging.Logger, path: Path) -> None:
        self._logger = logger
        self._path = path
        self._handler: logging.Handler | None = None

    @property
    def is_open(self) -> bool:
        """Whether messages go to the file."""
        return self._handler is not None

    def open(self) -> None:
        """Begin, where it is not open already; raises `PipelineStateError` where the file cannot be made."""
        if self._handler is not None:
            return
        try:
            make_folder(self._path.parent)
            handler = logging.FileHandler(self._path, encoding="utf-8")
        except OSError as error:
            raise PipelineStateError(f"{self._path} cannot be written: {error}") from error
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._logger.addHandler(handler)
        self._logger.setLevel(logging.INFO)
        self._handler = handler

    def close(self) -> None:
        """End, where it is open."""
        if self._handler is not None:
            self._logger.removeHandler(self._handler)
            self._handler.close()
            self._handler = None
