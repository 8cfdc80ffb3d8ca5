"""Where a served model comes from: MLflow or a file; only ONNX is ever read."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlinfra.errors import MlinfraError
from mlinfra.models.errors import ForeignModelError
from mlinfra.models.learnt import LearntModel, learnt_model
from mlinfra.monitoring.profile import PROFILE_FILE
from mlinfra.serving.errors import InvalidSettingError
from mlinfra.tracking.connection import connect, first_line, translated_errors
from mlinfra.tracking.errors import TrackingUnavailableError, UnusableModelError
from mlinfra.tracking.onnx_files import MAX_MODEL_BYTES, MODELS_PREFIX, load_onnx_file, parse_onnx

if TYPE_CHECKING:
    import onnx
    from mlflow import MlflowClient

FILE_VERSION = "1"
"""Of a model that comes from a file."""


class WrongDigestError(UnusableModelError):
    """The model's file is not the one whose digest was approved."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model's content and what is known of it.

    Attributes:
        name, version: what it is called.
        uri: where it came from.
        content: the ONNX file.
        sha256: of the file, in hexadecimal.
        learnt: what it reads and predicts; None where another library wrote it.
        properties: its ONNX metadata.
        profile: content of its reference profile; None where it has none.
    """

    name: str
    version: str
    uri: str
    content: bytes = field(repr=False)
    sha256: str
    learnt: LearntModel | None
    properties: Mapping[str, str]
    profile: bytes | None = field(repr=False, default=None)


class ModelSource:
    """Reads the model behind a URI or a path.

    Args:
        uri: ``models:/<name>/<version>``, ``models:/<name>@<alias>``, ``models:/<model ID>``, or a path.
        tracking_uri: of MLflow; its default where None.
        name: what the model is called; the registered name, or the file's, by default.
    """

    def __init__(self, uri: str, *, tracking_uri: str | None = None, name: str | None = None) -> None:
        self.uri = uri
        self._tracking_uri = tracking_uri
        self._name = name
        self._client: MlflowClient | None = None

    @property
    def alias(self) -> str | None:
        """The alias that the URI names, which may come to mean another version; None of a fixed version."""
        return _parts(self.uri)[2] if self.uri.startswith(MODELS_PREFIX) else None

    def newest_version(self) -> str:
        """The version that the alias means now.

        Raises:
            TrackingUnavailableError, TrackingRefusedError: MLflow does not answer, or has none.
        """
        name, _, alias = _parts(self.uri)
        client = self._connected()
        with self._our_errors(client):
            return str(client.get_model_version_by_alias(name, str(alias)).version)

    def fetch(self, *, digest: str | None = None) -> ModelFile:
        """The model as it is now.

        Args:
            digest: SHA-256 that its file must have.

        Raises:
            UnusableModelError: it is not ONNX, damaged, or not the file that was logged or approved.
            TrackingUnavailableError, TrackingRefusedError: MLflow, or what keeps its files, does not answer,
                or has no such model.
        """
        found = self._from_mlflow() if self.uri.startswith(MODELS_PREFIX) else self._from_file()
        wanted = (digest or "").removeprefix("sha256:").lower()
        if wanted and wanted != found.sha256:
            raise WrongDigestError(f"{self.uri} has the SHA-256 {found.sha256}, and {wanted} was approved")
        return found

    def _from_mlflow(self) -> ModelFile:
        name, version, alias = _parts(self.uri)
        if alias is not None:
            version = self.newest_version()
        client = self._connected()
        uri = f"{MODELS_PREFIX}{name}/{version}" if version else self.uri
        with self._our_errors(client):
            if version is None:
                logged = client.get_logged_model(name)
                name, version = logged.name, name
            file = load_onnx_file(client, uri, beside=(PROFILE_FILE,))
        return self._described(
            name, version, uri, file.content, file.model, profile=file.beside.get(PROFILE_FILE)
        )

    def _from_file(self) -> ModelFile:
        path = Path(self.uri)
        try:
            size = path.stat().st_size
            if size > MAX_MODEL_BYTES:
                raise UnusableModelError(
                    f"{path} has {size} bytes, more than the {MAX_MODEL_BYTES} that are read"
                )
            content = path.read_bytes()
            beside = path.with_name(PROFILE_FILE)
            profile = beside.read_bytes() if beside.is_file() else None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise InvalidSettingError(
                f"model {self.uri} cannot be read: {why}; name an ONNX file, or "
                "models:/<name>/<version> of MLflow"
            ) from error
        model = parse_onnx(content, where=str(path))
        return self._described(path.stem, FILE_VERSION, str(path), content, model, profile=profile)

    def _described(
        self,
        name: str,
        version: str,
        uri: str,
        content: bytes,
        model: "onnx.ModelProto",
        *,
        profile: bytes | None,
    ) -> ModelFile:
        properties = {entry.key: entry.value for entry in model.metadata_props}
        try:
            learnt = learnt_model(properties)
        except ForeignModelError:
            learnt = None
        return ModelFile(
            name=self._name or name,
            version=version,
            uri=uri,
            content=content,
            sha256=hashlib.sha256(content).hexdigest(),
            learnt=learnt,
            properties=properties,
            profile=profile,
        )

    @contextmanager
    def _our_errors(self, client: "MlflowClient") -> Iterator[None]:
        """Raise errors of MLflow, and of what keeps its files, as those of `fetch`."""
        try:
            with translated_errors(client.tracking_uri):
                yield
        except MlinfraError:
            raise
        except Exception as error:  # the network, the file system and each object store have their own
            raise TrackingUnavailableError(
                f"{self.uri} cannot be read: {type(error).__name__}: {first_line(error)}"
            ) from error

    def _connected(self) -> "MlflowClient":
        if self._client is None:
            self._client = connect(self._tracking_uri)
        return self._client


def _parts(uri: str) -> tuple[str, str | None, str | None]:
    """Name, version and alias in a model URI; a logged model has neither."""
    target = uri.removeprefix(MODELS_PREFIX)
    name, slash, version = target.rpartition("/")
    aliased, at, alias = target.rpartition("@")
    if slash:
        return name, version, None
    return (aliased, None, alias) if at else (target, None, None)
