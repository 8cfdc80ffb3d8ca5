"""The file that a pipeline's log goes to while it runs or trains."""

import logging
from pathlib import Path

from mlinfra.features.files import make_folder
from mlinfra.retraining.pipeline_state import PipelineStateError


class PipelineLog(logging.LoggerAdapter[logging.Logger]):
    """What one pipeline tells, which also goes to a file while that is open.

    Args:
        logger: takes the messages of all pipelines.
        path: the file; it and its folder are made where they are absent.
    """

    def __init__(self, logger: logging.Logger, path: Path) -> None:
        super().__init__(logger, {"pipeline_log": self})
        self._path = path
        self._handler: logging.Handler | None = None

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
        handler.addFilter(self._is_own)
        self.logger.addHandler(handler)
        self.logger.setLevel(logging.INFO)
        self._handler = handler

    def close(self) -> None:
        """End, where it is open."""
        if self._handler is not None:
            self.logger.removeHandler(self._handler)
            self._handler.close()
            self._handler = None

    def _is_own(self, record: logging.LogRecord) -> bool:
        return getattr(record, "pipeline_log", None) is self
