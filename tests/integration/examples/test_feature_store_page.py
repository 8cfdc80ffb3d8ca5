"""The Python blocks of docs/feature_store.md run as they stand, one after the other."""

import re
import warnings
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "feature_store.md"


def test_the_blocks_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLINFRA_FEATURE_STORE_URI", raising=False)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    assert (tmp_path / "data" / "feature_store" / "quarantine" / "orderbook_features").is_dir()
