"""River's detectors."""

import sys

import numpy as np
import pytest

from mlinfra.errors import InvalidInputError
from mlinfra.monitoring.streaming import DETECTORS, StreamingDetector, StreamingUnavailableError


@pytest.mark.parametrize("name", DETECTORS)
def test_a_shift_of_the_mean_is_found_and_its_absence_is_not(name: str) -> None:
    generator = np.random.default_rng(1)
    calm, shifted = generator.normal(0, 0.1, 1000), generator.normal(1, 0.1, 1000)
    detector = StreamingDetector(name)  # type: ignore[arg-type]
    assert detector.changes(calm) == []
    found = detector.changes(shifted)
    assert 1000 <= found[0] < 1200
    assert detector.seen == 2000


def test_unknown_detectors_and_settings_are_told() -> None:
    with pytest.raises(InvalidInputError, match="did you mean ADWIN"):
        StreamingDetector("ADWIM")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"ADWIN: .*sensitivity"):
        StreamingDetector("ADWIN", sensitivity=3)


def test_without_river_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "river", None)
    with pytest.raises(StreamingUnavailableError, match=r"mlinfra\[streaming\]"):
        StreamingDetector()
