"""`mlinfra demo-drift` on a shorter stretch: the model fails, the policy mends it, no request fails."""

import re
from collections.abc import Iterator

import pytest
from e2e.driver import Platform


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("drift"))
    try:
        yield platform
    finally:
        platform.mlinfra("down", "--delete")


@pytest.mark.timeout(900)
def test_the_served_model_goes_wrong_and_its_policy_mends_it(fresh: Platform) -> None:
    plot = fresh.state / "drift.svg"
    text = fresh.mlinfra("demo-drift", "--until", "2005-08-31", "--plot", str(plot))

    (retraining,) = re.findall(r"^2005-\d\d-\d\d performance .*$", text, re.MULTILINE)
    _, _, drift, accuracy, old, new, version, promoted, *_ = retraining.split()
    # A third of the answers were right; the new version is right in most of the newest rows.
    assert float(drift) > 1.0
    assert float(accuracy) < 0.4
    assert float(new) > 0.7 > 0.4 > float(old)
    assert (version, promoted) == ("2", "yes")
    assert "accuracy" in retraining

    assert " 0 failed requests" in text
    rows = re.search(r"([\d,]+) rows, ([\d,]+) labels", text)
    assert rows is not None
    assert rows[1] == rows[2]
    told = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith(("frozen", "as "))}
    assert float(told["as"][-1]) > float(told["frozen"][-1]) + 0.2
    assert "did not recover" not in text
    assert "</svg>" in plot.read_text()


def test_a_manifest_that_is_none_is_told_before_anything_starts(fresh: Platform) -> None:
    result = fresh.run("demo-drift", "--file", "README.md")
    assert result.returncode == 1
    assert "README.md cannot be read as a TrainingJob" in result.stderr
