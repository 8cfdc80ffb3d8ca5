"""The Python blocks of the feature store's pages run as they stand, one after the other."""

from collections.abc import Callable
from pathlib import Path


def test_the_blocks_of_the_page_run(run_page: Callable[[str], int], tmp_path: Path) -> None:
    assert run_page("feature_store.md") == 2
    assert (tmp_path / "data" / "feature_store" / "quarantine" / "orderbook_features").is_dir()


def test_the_blocks_on_joins_and_snapshots_run(run_page: Callable[[str], int]) -> None:
    assert run_page("point_in_time.md") == 3
