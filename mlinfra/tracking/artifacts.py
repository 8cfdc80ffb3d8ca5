"""Small files among a run's artifacts, as bytes."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient


def write_artifact(client: "MlflowClient", run_id: str, content: bytes, file: str) -> None:
    """Log a file's content under its place, such as ``params/note.txt``."""
    with tempfile.TemporaryDirectory(prefix="mlinfra-artifact-") as folder:
        path = Path(folder, Path(file).name)
        path.write_bytes(content)
        place = str(Path(file).parent) if Path(file).parent.name else None
        client.log_artifact(run_id, str(path), place)


def read_artifact(client: "MlflowClient", run_id: str, file: str) -> bytes | None:
    """The content of a file; None where the run has none of that name."""
    place = str(Path(file).parent) if Path(file).parent.name else None
    if file not in {each.path for each in client.list_artifacts(run_id, place)}:
        return None
    with tempfile.TemporaryDirectory(prefix="mlinfra-artifact-") as folder:
        return Path(client.download_artifacts(run_id, file, folder)).read_bytes()
