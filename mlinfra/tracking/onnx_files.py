"""Reads ONNX models back from MLflow: nothing else is ever loaded, and nothing in the file can run code."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlinfra.tracking.contract import SHA256_TAG
from mlinfra.tracking.errors import UnusableModelError

if TYPE_CHECKING:
    import onnx
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

MODELS_PREFIX = "models:/"
DESCRIPTION_FILE = "MLmodel"
MAX_DESCRIPTION_BYTES = 1 << 20
MAX_MODEL_BYTES = 1 << 30
ONNX_FLAVOR = "onnx"
ONNX_FILE = "model.onnx"
"""As MLflow names it."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX model as it was logged.

    Attributes:
        content: the file.
        model: what it holds.
        sha256: of the file, in hexadecimal.
        beside: content of the other files that were asked for and are there, by name.
    """

    content: bytes
    model: "onnx.ModelProto"
    sha256: str
    beside: Mapping[str, bytes]


def load_onnx_model(
    client: "MlflowClient", uri: str, *, max_bytes: int = MAX_MODEL_BYTES
) -> "onnx.ModelProto":
    """The model of `load_onnx_file`, which takes and raises the same."""
    return load_onnx_file(client, uri, max_bytes=max_bytes).model


def load_onnx_file(
    client: "MlflowClient", uri: str, *, max_bytes: int = MAX_MODEL_BYTES, beside: Sequence[str] = ()
) -> OnnxFile:
    """The ONNX model behind a model URI, checked before it is read.

    Args:
        client: client of the MLflow server.
        uri: ``models:/<name>/<version>``, ``models:/<name>@<alias>`` or ``models:/<model ID>``.
        max_bytes: the largest file that is downloaded.
        beside: names of other files to read from the model's folder, where they are there.

    Raises:
        UnusableModelError: it is no ONNX model of one file, too large, damaged, or not the file that
            was logged.
        MlflowException: MLflow does not answer, or has no such model.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with tempfile.TemporaryDirectory(prefix="mlinfra-onnx-") as temporary:
        source = get_artifact_repository(_location(client, uri), tracking_uri=client.tracking_uri)
        description = _described(source, uri, Path(temporary))
        file = _onnx_file(description, uri)
        content = _download(source, uri, file, Path(temporary), max_bytes=max_bytes).read_bytes()
        there = {Path(each.path).name for each in source.list_artifacts(None)} if beside else set()
        others = {
            name: _download(source, uri, name, Path(temporary), max_bytes=max_bytes).read_bytes()
            for name in beside
            if name in there
        }
    _check_digest(client, description, content, uri=uri)
    model = parse_onnx(content, where=f"{uri}: {file}")
    return OnnxFile(content, model, hashlib.sha256(content).hexdigest(), others)


def parse_onnx(content: bytes, *, where: str) -> "onnx.ModelProto":
    """The model in the content of an ONNX file.

    Args:
        content: the file.
        where: the file's name, for messages.

    Raises:
        UnusableModelError: it is no ONNX model of one file, or damaged.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker each have errors of their own
        raise UnusableModelError(f"{where} is not a valid ONNX model: {error}") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise UnusableModelError(
            f"{where}: the ONNX model keeps weights in other files; export it as one file."
        )
    return model


def sha256_of_model(folder: Path) -> str | None:
    """SHA-256, in hexadecimal, of the ONNX file in a folder in MLflow's format; None where it holds none."""
    file = folder / ONNX_FILE
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def _location(client: "MlflowClient", uri: str) -> str:
    """Where the files of a model lie; MLflow's own look-up asks the process's default server instead."""
    target = uri.removeprefix(MODELS_PREFIX)
    name, slash, number = target.rpartition("/")
    aliased, at, alias = target.rpartition("@")
    if not uri.startswith(MODELS_PREFIX):
        return uri
    if slash:
        source = client.get_model_version_download_uri(name, number)
    elif at:
        version = client.get_model_version_by_alias(aliased, alias)
        source = client.get_model_version_download_uri(aliased, str(version.version))
    else:
        source = client.get_logged_model(target).artifact_location
    # The source of a version is often a logged model; that of a logged model is a place.
    return _location(client, source)


def _described(source: "ArtifactRepository", uri: str, folder: Path) -> dict[str, Any]:
    path = _download(source, uri, DESCRIPTION_FILE, folder, max_bytes=MAX_DESCRIPTION_BYTES)
    try:
        description = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnusableModelError(f"{uri}: {DESCRIPTION_FILE} is damaged: {error}") from error
    if not isinstance(description, dict):
        raise UnusableModelError(f"{uri}: {DESCRIPTION_FILE} is damaged: it holds no mapping.")
    return description


def _onnx_file(description: dict[str, Any], uri: str) -> str:
    flavors = description.get("flavors")
    names = list(flavors) if isinstance(flavors, dict) else []
    flavor = flavors.get(ONNX_FLAVOR) if isinstance(flavors, dict) else None
    if not isinstance(flavor, dict):
        raise UnusableModelError(
            f"{uri} is no ONNX model but {', '.join(map(str, names)) or 'of no known kind'}."
        )
    file = flavor.get("data")
    if not isinstance(file, str) or Path(file).name != file:
        raise UnusableModelError(f"{uri}: {DESCRIPTION_FILE} names no ONNX file beside it.")
    return file


def _download(source: "ArtifactRepository", uri: str, name: str, folder: Path, *, max_bytes: int) -> Path:
    # Asked first: a file that is too large is not to fill the disk.
    found = {Path(each.path).name: each for each in source.list_artifacts(None)}
    if name not in found:
        raise UnusableModelError(f"{uri} has no file {name}.")
    size = found[name].file_size
    if found[name].is_dir or size is None or size > max_bytes:
        raise UnusableModelError(
            f"{name} of {uri} has {size} bytes, more than the {max_bytes} that are read."
        )
    downloaded = source.download_artifacts(name, dst_path=str(folder))  # type: ignore[no-untyped-call]
    return Path(downloaded)


def _check_digest(client: "MlflowClient", description: dict[str, Any], content: bytes, *, uri: str) -> None:
    """Compare with the hash on the logged model; models of other libraries carry none."""
    model_id = description.get("model_id")
    if not isinstance(model_id, str):
        return
    logged = client.get_logged_model(model_id).tags.get(SHA256_TAG)
    found = hashlib.sha256(content).hexdigest()
    if logged is not None and logged != found:
        raise UnusableModelError(f"{uri} has the SHA-256 {found}, {logged} was logged: the file was changed.")
