"""A server that was interrupted while it created its tables starts afresh."""

from pathlib import Path

from mlinfra.local.mlflow_server import DATABASE, remove_unfinished_database


def test_the_database_goes_with_its_journal_and_the_artifacts_stay(tmp_path: Path) -> None:
    for name in (DATABASE, f"{DATABASE}-journal", f"{DATABASE}-wal", "server.json"):
        (tmp_path / name).touch()
    (tmp_path / "artifacts").mkdir()
    remove_unfinished_database(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"server.json", "artifacts"}


def test_nothing_there_is_nothing_to_remove(tmp_path: Path) -> None:
    remove_unfinished_database(tmp_path)
    assert list(tmp_path.iterdir()) == []
