"""How often runs are asked about."""

import pytest

from mlinfra_operator.runtime.run_watch import POLL_SECONDS, POLLING_SHARE, pause_after


@pytest.mark.parametrize(("poll", "pause"), [(0.0, POLL_SECONDS), (0.05, POLL_SECONDS), (2.0, 18.0)])
def test_a_long_answer_is_asked_for_less_often(poll: float, pause: float) -> None:
    assert pause_after(poll) == pytest.approx(pause)
    assert poll / (poll + pause_after(poll)) <= POLLING_SHARE + 1e-9
