"""Streaming detectors of River, for those who watch one value at a time instead of windows.

They are no part of a policy: they see the mean of one stream, keep their state in memory, and know nothing of
sampling, of many features at once, or of how often a breach may ask for a training.
"""

from collections.abc import Iterable
from typing import Any, Literal

from mlinfra.errors import InvalidInputError, MlinfraError, suggestion

Detector = Literal["ADWIN", "PageHinkley"]
DETECTORS: tuple[Detector, ...] = ("ADWIN", "PageHinkley")


class StreamingUnavailableError(MlinfraError):
    """River is not installed."""


class StreamingDetector:
    """Tells where the mean of a stream changes.

    Args:
        name: ``ADWIN`` (Bifet and Gavaldà, 2007: an adaptive window) or ``PageHinkley`` (Page, 1954: a
            cumulated deviation).
        settings: those of River's class of that name, such as ``delta=0.002``.

    Raises:
        StreamingUnavailableError: River is not installed.
        InvalidInputError: there is no such detector, or no such setting.
    """

    def __init__(self, name: Detector = "ADWIN", **settings: Any) -> None:
        if name not in DETECTORS:
            raise InvalidInputError(f'there is no streaming detector "{name}": {suggestion(name, DETECTORS)}')
        try:
            from river import drift
        except ModuleNotFoundError as error:
            raise StreamingUnavailableError(
                "streaming detectors need River: pip install 'mlinfra[streaming]'"
            ) from error
        try:
            self._detector = getattr(drift, name)(**settings)
        except TypeError as error:
            raise InvalidInputError(f"{name}: {error}") from error
        self._seen = 0

    @property
    def seen(self) -> int:
        """How many values there were."""
        return self._seen

    def update(self, value: float) -> bool:
        """Whether the mean has changed by this value; the detector starts anew then."""
        self._detector.update(value)
        self._seen += 1
        return bool(self._detector.drift_detected)

    def changes(self, values: Iterable[float]) -> list[int]:
        """Of more values, the number of each at which the mean has changed, the stream's first being 0."""
        return [self._seen - 1 for value in values if self.update(value)]
