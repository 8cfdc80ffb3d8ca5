"""What may ask for a training, and what a monitor may say. Plain values, and their form in JSON."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from pydantic.alias_generators import to_camel

from mlinfra.errors import InvalidInputError

MAX_MESSAGE_LENGTH = 1000
MAX_FEATURES = 16
"""Of those that drifted a result names the worst."""
_Time = Annotated[AwareDatetime, Field(strict=False)]


class InvalidMonitorResultError(InvalidInputError):
    """What should be a monitor's result is none."""

    reason: ClassVar[str] = "InvalidMonitorResult"


class RetrainingTrigger(StrEnum):
    """Why a model is trained again."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    PERFORMANCE = "performance"
    DRIFT = "drift"


class MonitorOutcome(StrEnum):
    """What a check of the served model came to; too few samples are neither good nor bad."""

    OK = "ok"
    BREACHED = "breached"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class FeatureScore:
    """A feature that drifted: how far, and what it was compared with."""

    name: str
    score: float
    threshold: float


@dataclass(frozen=True, slots=True)
class MonitorResult:
    """One check of drift or performance, over the newest windows of what was served.

    Attributes:
        trigger: DRIFT or PERFORMANCE.
        outcome: what the check came to.
        window_end: end of the newest window, in event time; one window asks for one training at most.
        score: the measured value; None where there is none.
        threshold: what it was compared with.
        message: what a person should know.
        window_start: start of the newest windows that are enough for the outcome; None where nobody knows.
        metric: what was measured, such as ``PSI`` or ``accuracy``.
        estimated: whether the score was estimated, for want of labels.
        samples: how many predictions it was taken from.
        standard_error: how far the score varies from window to window although nothing changed; None where
            nobody knows.
        features: those that drifted, the worst first, at most `MAX_FEATURES`.
        model_version: the version that was checked; empty where nobody knows.
    """

    trigger: RetrainingTrigger
    outcome: MonitorOutcome
    window_end: datetime
    score: float | None = None
    threshold: float | None = None
    message: str = ""
    window_start: datetime | None = None
    metric: str = ""
    estimated: bool = False
    samples: int | None = None
    standard_error: float | None = None
    features: tuple[FeatureScore, ...] = ()
    model_version: str = ""

    @property
    def breached(self) -> bool:
        """Whether the check says that something is wrong."""
        return self.outcome is MonitorOutcome.BREACHED

    def to_wire(self) -> dict[str, Any]:
        """The result as JSON-ready camelCase; what is absent or empty is left out."""
        wire = {
            "trigger": self.trigger.value,
            "outcome": self.outcome.value,
            "windowStart": _rfc3339(self.window_start) if self.window_start else None,
            "windowEnd": _rfc3339(self.window_end),
            "metric": self.metric,
            "score": self.score,
            "threshold": self.threshold,
            "estimated": self.estimated,
            "samples": self.samples,
            "standardError": self.standard_error,
            "features": [
                {"name": each.name, "score": each.score, "threshold": each.threshold}
                for each in self.features[:MAX_FEATURES]
            ],
            "modelVersion": self.model_version,
            "message": self.message[:MAX_MESSAGE_LENGTH],
        }
        return {
            key: value
            for key, value in wire.items()
            if not (value is None or value is False or value in ("", []))
        }

    @classmethod
    def of_wire(cls, wire: object) -> "MonitorResult":
        """The result that `to_wire` gave; fields that are not known are passed over.

        Raises:
            InvalidMonitorResultError: it is no result; the message names the field.
        """
        try:
            checked = _ResultOnTheWire.model_validate(wire)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidMonitorResultError(
                f"{where or 'the whole'} of a monitor's result: {first['msg']}, got {first['input']!r:.80}"
            ) from error
        return checked.result()


@dataclass(frozen=True, slots=True)
class Request:
    """Something asks for a training now.

    Attributes:
        trigger: what kind of thing.
        key: tells it from other requests of its kind: the scheduled time, the value of the annotation,
            the end of the window. One key is trained once.
        message: why, for people.
        due: since when; a training that started then or later answers it, whatever asked for that one.
            None where only a training of its own does: a person asked.
        evidence: the results of the monitors that it rests on.
    """

    trigger: RetrainingTrigger
    key: str
    message: str
    due: datetime | None = None
    evidence: tuple[MonitorResult, ...] = ()


class _OnTheWire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", strict=True, frozen=True)


class _FeatureOnTheWire(_OnTheWire):
    name: str
    score: FiniteFloat
    threshold: FiniteFloat


class _ResultOnTheWire(_OnTheWire):
    trigger: Literal["drift", "performance"]
    outcome: Literal["ok", "breached", "inconclusive", "error"]
    window_end: _Time
    score: FiniteFloat | None = None
    threshold: FiniteFloat | None = None
    message: str = ""
    window_start: _Time | None = None
    metric: str = ""
    estimated: bool = False
    samples: Annotated[int, Field(ge=0)] | None = None
    standard_error: Annotated[FiniteFloat, Field(ge=0)] | None = None
    features: tuple[_FeatureOnTheWire, ...] = Field(default=(), strict=False)
    model_version: str = ""

    def result(self) -> MonitorResult:
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return MonitorResult(
            **values
            | {
                "trigger": RetrainingTrigger(self.trigger),
                "outcome": MonitorOutcome(self.outcome),
                "features": tuple(FeatureScore(**each.model_dump()) for each in self.features),
            }
        )


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
