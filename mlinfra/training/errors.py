"""What can be wrong with the rows of a training; each error's reason becomes a condition's reason."""

from typing import ClassVar

from mlinfra.errors import InvalidInputError, MlinfraError


class UnknownFeatureError(InvalidInputError):
    """A feature is not a column of the feature group."""

    reason: ClassVar[str] = "UnknownFeature"


class InvalidFeatureError(InvalidInputError):
    """A feature is there, but it is not a number."""

    reason: ClassVar[str] = "InvalidFeature"


class MissingLabelError(InvalidInputError):
    """The label's column, or some of its values, are missing."""

    reason: ClassVar[str] = "MissingLabel"


class InvalidLabelError(InvalidInputError):
    """The label's values are not classes."""

    reason: ClassVar[str] = "InvalidLabel"


class SingleClassLabelError(InvalidInputError):
    """The training rows hold one class only, so there is nothing to tell apart."""

    reason: ClassVar[str] = "SingleClassLabel"


class ConstantLabelError(InvalidInputError):
    """The training rows all have the same value, so there is nothing to learn."""

    reason: ClassVar[str] = "ConstantLabel"


class EmptyDateRangeError(InvalidInputError):
    """There are no rows between the dates."""

    reason: ClassVar[str] = "EmptyDateRange"


class TooFewRowsError(InvalidInputError):
    """A part of the split has no whole window."""

    reason: ClassVar[str] = "TooFewRows"


class InvalidRowsError(InvalidInputError):
    """Rows without values, times or order."""

    reason: ClassVar[str] = "InvalidRows"


class TrainingDivergedError(MlinfraError):
    """The loss is no longer a number."""


class OnnxMismatchError(MlinfraError):
    """The exported graph does not compute what the network computes."""


class IncomparableChampionError(MlinfraError):
    """The model in Production cannot be scored on the rows of its challenger."""


class UnknownMetricError(InvalidInputError):
    """A metric is named that this training does not measure."""

    reason: ClassVar[str] = "UnknownMetric"


class UnsupportedPrecisionError(InvalidInputError):
    """The device cannot compute in the precision that is asked for."""

    reason: ClassVar[str] = "UnsupportedPrecision"


class InvalidProcessesError(InvalidInputError):
    """The environment, or the caller, names processes that cannot be."""

    reason: ClassVar[str] = "InvalidProcesses"


class PeerLostError(MlinfraError):
    """Another process of the same training ended or no longer answers."""


class TrainingInterruptedError(MlinfraError):
    """The training was asked to stop, and did so after a batch."""


class CorruptCheckpointError(MlinfraError):
    """A checkpoint's file is damaged, or is no checkpoint."""


class CheckpointMismatchError(InvalidInputError):
    """A checkpoint belongs to another training: other parameters, or other rows."""

    reason: ClassVar[str] = "CheckpointMismatch"


class CheckpointStorageError(MlinfraError):
    """The place of the checkpoints cannot be read or written."""


class ExportFolderError(MlinfraError):
    """The folder for the training's files cannot be written; nothing was registered."""


class NothingToResumeError(InvalidInputError):
    """There is no checkpoint to go on from."""

    reason: ClassVar[str] = "NothingToResume"
