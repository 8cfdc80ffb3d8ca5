"""What the commands of ``mlinfra drift`` compare: a reference profile, and rows of a group or a file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlinfra.errors import InvalidInputError
from mlinfra.monitoring.profile import ProfileError, ReferenceProfile
from mlinfra.monitoring.report.document import Subject
from mlinfra.serving.batch_counts import AnsweredRows, answered_rows
from mlinfra.serving.batch_prediction import learnt_for_batches
from mlinfra.serving.batch_sources import RowBatch, rows_of_file, rows_of_group
from mlinfra.serving.model_source import ModelFile, ModelSource
from mlinfra.serving.served_model import ServedModel
from mlinfra.serving.windows import WindowStream
from mlinfra.tracking.onnx_files import MODELS_PREFIX

if TYPE_CHECKING:
    from mlinfra.serving.settings import MissingPolicy

BATCH_ROWS = 8192


class NoProductionVersionError(InvalidInputError):
    """A model is named without a version, and none is in Production."""

    reason = "NoProductionVersion"


@dataclass(frozen=True, slots=True)
class RowSource:
    """Where rows come from: a feature group, or a file.

    Attributes:
        group: name of the group; the one that the model learnt from where None.
        data: the file; a group where None.
        start, end: first and last moment of the group.
        entity, timestamp: columns of the file.
        store: of the group.
    """

    group: str | None
    data: Path | None
    start: str | None
    end: str | None
    entity: str | None
    timestamp: str | None
    store: str | None

    def named(self, learnt_from: str | None) -> str:
        """The rows' origin, for people.

        Raises:
            InvalidInputError: nothing tells it.
        """
        if self.data is not None:
            return str(self.data)
        group = self.group or learnt_from
        if group is None:
            raise InvalidInputError("nothing tells which rows to compare: give --group or --data")
        return f"feature group {group}"

    def batches(self, features: Sequence[str], learnt_from: str | None) -> Iterator[RowBatch]:
        """The rows, each with its time.

        Raises:
            InvalidFeatures: the file cannot be read, or a column is missing.
            UnknownFeatureGroup, InvalidDateRange: the message names those there are.
        """
        if self.data is not None:
            return rows_of_file(
                self.data,
                features,
                entity=self.entity,
                timestamp=self.timestamp,
                needs_time=True,
                batch_rows=BATCH_ROWS,
            )
        from mlinfra.features import get_feature_store

        name = str(self.group or learnt_from)
        return rows_of_group(get_feature_store(self.store), name, features, start=self.start, end=self.end)


@dataclass(frozen=True, slots=True)
class Compared:
    """What is compared with what."""

    profile: ReferenceProfile
    rows: AnsweredRows
    subject: Subject


def beside_profile(path: Path, source: RowSource) -> Compared:
    """Rows beside a profile alone: nothing is predicted.

    Raises:
        ProfileError: it cannot be read.
        InvalidFeatures, NoRowsError: of the rows.
    """
    profile = profile_of_file(path)
    named = source.named(None)
    rows = answered_rows(source.batches(profile.feature_names, None))
    notes = ("No model was asked: there are no predictions in this report.",)
    return Compared(profile, rows, Subject(profile.model_name, "", named, notes))


def beside_model(
    model: str,
    source: RowSource,
    *,
    tracking_uri: str | None,
    digest: str | None,
    missing: "MissingPolicy",
    defaults: Mapping[str, float],
) -> Compared:
    """Rows beside a model's profile, with what the model answers to them.

    Raises:
        NoProductionVersionError, UnusableModelError: there is no such model, or it cannot be used.
        ProfileError: it has no profile.
        InvalidFeatures, NoRowsError: of the rows.
    """
    file, profile = model_with_profile(model, tracking_uri=tracking_uri, digest=digest)
    served = ServedModel(file)
    learnt = learnt_for_batches(served)
    if profile.feature_names != learnt.features:
        raise ProfileError(f"the reference profile of {file.uri} is of other features than the model reads")
    stream = WindowStream(learnt.features, learnt.window, policy=missing, defaults=defaults)
    named = source.named(learnt.feature_group)
    rows = answered_rows(source.batches(learnt.features, learnt.feature_group), served, stream)
    notes = (
        ()
        if learnt.window == 1
        else (f"Of the {learnt.window} rows that the model reads at once, the newest is counted.",)
    )
    return Compared(profile, rows, Subject(file.name, file.version, named, notes))


def profile_of_file(path: Path) -> ReferenceProfile:
    """The profile in a file; raises `ProfileError` where it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror or error}") from error
    return ReferenceProfile.of_json(content)


def model_with_profile(
    model: str, *, tracking_uri: str | None, digest: str | None
) -> tuple[ModelFile, ReferenceProfile]:
    """A model that is named on the command line, and its profile.

    Raises:
        NoProductionVersionError, UnusableModelError: there is no such model, or it cannot be used.
        ProfileError: it has no profile.
    """
    file = ModelSource(model_uri(model, tracking_uri), tracking_uri=tracking_uri).fetch(digest=digest)
    if file.profile is None:
        raise ProfileError(f"{file.uri} has no reference profile; train it with mlinfra")
    return file, ReferenceProfile.of_json(file.profile)


def model_uri(model: str, tracking_uri: str | None) -> str:
    """The address that a name on the command line means.

    Raises:
        NoProductionVersionError: it is a name alone, and no version of that model is in Production.
    """
    if model.startswith(MODELS_PREFIX) or model.endswith(".onnx") or Path(model).is_file():
        return model
    if "/" in model or "@" in model:
        return f"{MODELS_PREFIX}{model}"
    from mlinfra.tracking.connection import connect, translated_errors
    from mlinfra.tracking.stages import production_version

    client = connect(tracking_uri)
    with translated_errors(client.tracking_uri):
        version = production_version(client, model)
    if version is None:
        raise NoProductionVersionError(
            f"no version of a model {model} is in Production; name one, such as {model}/1"
        )
    return f"{MODELS_PREFIX}{model}/{version}"
