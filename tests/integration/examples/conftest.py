"""Runs the Python blocks of a page of the documentation."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def run_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Runs all blocks of a page as they stand, one after the other in an empty folder; gives their number."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLINFRA_FEATURE_STORE_URI", raising=False)

    def run(page: str) -> int:
        blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
        names: dict[str, object] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for block in blocks:
                exec(compile(block, page, "exec"), names)
        return len(blocks)

    return run
