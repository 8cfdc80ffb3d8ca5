"""Monitor results as statuses, lineages and annotations hold them. Pure."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from mlinfra.resources.monitor_status import MAX_MONITORS, DriftedFeature, MonitorEvidence
from mlinfra.retraining.triggers import (
    MAX_FEATURES,
    MAX_MESSAGE_LENGTH,
    InvalidMonitorResultError,
    MonitorOutcome,
    MonitorResult,
    RetrainingTrigger,
)
from mlinfra_operator.conditions import timestamp
from mlinfra_operator.metrics import decimal

MAX_NAME_LENGTH = 253
MAX_TEXT_LENGTH = 64
NEVER = datetime.min.replace(tzinfo=UTC)


def evidence_of(result: MonitorResult) -> MonitorEvidence:
    """A result as a status holds it."""
    return MonitorEvidence(
        trigger="drift" if result.trigger == "drift" else "performance",
        outcome=result.outcome.value,
        window_start=_time(result.window_start),
        window_end=_time(result.window_end),
        metric=result.metric[:MAX_TEXT_LENGTH] or None,
        score=_number(result.score),
        threshold=_number(result.threshold),
        estimated=result.estimated,
        samples=result.samples,
        standard_error=_number(result.standard_error),
        features=[
            DriftedFeature(
                name=each.name[:MAX_NAME_LENGTH],
                score=decimal(each.score),
                threshold=decimal(each.threshold),
            )
            for each in result.features[:MAX_FEATURES]
        ],
        model_version=result.model_version[:MAX_TEXT_LENGTH] or None,
        message=result.message[:MAX_MESSAGE_LENGTH],
    )


def result_of(evidence: MonitorEvidence) -> MonitorResult:
    """What `evidence_of` made of a result, as far as decisions go."""
    return MonitorResult(
        trigger=RetrainingTrigger(evidence.trigger),
        outcome=MonitorOutcome(evidence.outcome),
        window_end=_moment(evidence.window_end) or NEVER,
        score=float(evidence.score) if evidence.score is not None else None,
        threshold=float(evidence.threshold) if evidence.threshold is not None else None,
        message=evidence.message,
        window_start=_moment(evidence.window_start),
        metric=evidence.metric or "",
        estimated=evidence.estimated,
        samples=evidence.samples,
        standard_error=float(evidence.standard_error) if evidence.standard_error is not None else None,
        model_version=evidence.model_version or "",
    )


def to_annotation(evidence: Iterable[MonitorResult]) -> str:
    """Results as the value of an annotation."""
    return json.dumps([result.to_wire() for result in evidence], separators=(",", ":"))


def of_annotation(text: str | None) -> list[MonitorEvidence]:
    """What `to_annotation` wrote; nothing where a person has made something else of it."""
    if not text:
        return []
    try:
        found = json.loads(text)
        results = [MonitorResult.of_wire(each) for each in (found if isinstance(found, list) else [])]
    except (ValueError, InvalidMonitorResultError):
        return []
    return [evidence_of(result) for result in results[:MAX_MONITORS]]


def events_until(annotation: str | None) -> datetime | None:
    """End of the newest window of the evidence in an annotation."""
    ends = (_moment(evidence.window_end) for evidence in of_annotation(annotation))
    return max((end for end in ends if end is not None), default=None)


def _time(moment: datetime | None) -> str | None:
    return timestamp(moment) if moment is not None else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None


def _number(value: float | None) -> str | None:
    return decimal(value) if value is not None else None
