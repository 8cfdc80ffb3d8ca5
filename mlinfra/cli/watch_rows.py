"""What ``mlinfra watch`` shows of the three resources: rows of a table, and lines of what changed. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mlinfra.cli.object_summary import Object, Summary, age_of, summary_of

KINDS = ("RetrainingPolicy", "TrainingJob", "ModelVersion")
HEADINGS = ("name", "phase", "ready", "detail", "age", "reason")
Key = tuple[str, str, str]
"""Kind, namespace and name."""


@dataclass(frozen=True, slots=True)
class Row:
    """One resource as it is shown.

    Attributes:
        detail: what matters most of its kind: progress, version, next training.
        created: its creation timestamp.
    """

    kind: str
    namespace: str
    name: str
    summary: Summary
    detail: str
    created: str

    @property
    def key(self) -> Key:
        return self.kind, self.namespace, self.name

    def named(self, *, with_namespace: bool) -> str:
        """``kind/name`` as kubectl takes it, after the namespace where there are several."""
        where = f"{self.namespace} " if with_namespace else ""
        return f"{where}{self.kind.lower()}/{self.name}"


def row_of(kind: str, obj: Object) -> Row:
    """The row of a resource."""
    metadata = obj["metadata"]
    return Row(
        kind=kind,
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        summary=summary_of(obj, kind),
        detail=_detail_of(kind, obj),
        created=metadata["creationTimestamp"],
    )


@dataclass(slots=True)
class Shown:
    """The rows that were last shown.

    Args:
        with_namespace: whether to name the namespaces.
    """

    with_namespace: bool = False
    rows: dict[Key, Row] = field(default_factory=dict)

    def change(self, row: Row, *, deleted: bool, now: datetime) -> str | None:
        """Take over a change; the line that tells of it, None where nothing that is shown has changed."""
        time = f"{now:%H:%M:%S}"
        name = row.named(with_namespace=self.with_namespace)
        if deleted:
            return f"{time} {name} deleted" if self.rows.pop(row.key, None) else None
        if self.rows.get(row.key) == row:
            return None
        self.rows[row.key] = row
        summary = row.summary
        ready = f"ready={summary.ready}" if summary.ready else ""
        parts = (time, name, summary.phase or "-", ready, row.detail, summary.why)
        return " ".join(part for part in parts if part)

    def table(self, now: datetime) -> list[tuple[str, ...]]:
        """The cells under `HEADINGS`: kind by kind, the newest first."""
        return [
            (
                row.named(with_namespace=self.with_namespace),
                row.summary.phase,
                row.summary.ready,
                row.detail,
                age_of(row.created, now),
                row.summary.why,
            )
            for row in _ordered(self.rows.values())
        ]


def _ordered(rows: Iterable[Row]) -> list[Row]:
    newest_first = sorted(rows, key=lambda row: (row.created, row.name), reverse=True)
    return sorted(newest_first, key=lambda row: KINDS.index(row.kind))


def _detail_of(kind: str, obj: Object) -> str:
    spec, status = obj["spec"], obj.get("status") or {}
    if kind == "TrainingJob":
        return _progress(status.get("trainerStatus") or {})
    if kind == "ModelVersion":
        return f"{spec['modelName']} {spec['version']}"
    following = status.get("nextScheduledTime")
    return f"next {following}" if following else ""


def _progress(trainer: Object) -> str:
    percent, remaining = trainer.get("progressPercentage"), trainer.get("estimatedRemainingSeconds")
    if percent is None:
        return ""
    return f"{percent}%, {timedelta(seconds=remaining)} left" if remaining else f"{percent}%"
