"""The page for users does what it says."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[4] / "docs" / "online_features.md"


def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLINFRA_FEATURE_STORE_URI", "MLINFRA_ONLINE_STORE_URI"):
        monkeypatch.delenv(name, raising=False)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    scope: dict[str, object] = {}
    for block in blocks:
        exec(block, scope)
    assert len(blocks) == 4
    assert (tmp_path / "data" / "feature_store" / "online" / "data.mdb").exists()
