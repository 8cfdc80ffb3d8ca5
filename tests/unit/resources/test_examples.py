"""Every manifest in examples/ is one that the API server takes."""

from pathlib import Path

import pytest
import yaml

from mlinfra.resources import ModelVersion, RetrainingPolicy, TrainingJob

EXAMPLES = Path(__file__).parents[3] / "examples"
KINDS = {kind.__name__: kind for kind in (TrainingJob, ModelVersion, RetrainingPolicy)}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_is_valid(path: Path) -> None:
    manifests = [manifest for manifest in yaml.safe_load_all(path.read_text()) if manifest]
    assert manifests
    for manifest in manifests:
        KINDS[manifest["kind"]].model_validate(manifest)
