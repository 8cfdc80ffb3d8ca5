"""The operator's log: each line says which object it is about; as text, or as JSON for machines."""

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from mlinfra_operator.runtime.cache import Object
from mlinfra_operator.settings import LogFormat

QUIET = ("httpx", "kopf.objects")
"""They tell of each request, and of each event that a handler saw: no news."""
SECRETS = re.compile(r"(\bBearer )[^\s'\"]+|(://[^/\s:@]*:)[^/\s@]+(?=@)")

_subject: ContextVar[dict[str, Any] | None] = ContextVar("subject", default=None)


def about(kind: str, namespace: str, name: str, obj: Object | None) -> None:
    """Let what the current task logs from now on tell which object it is about.

    Args:
        kind, namespace, name: of the object.
        obj: the object, for its UID and generation, where it is known.
    """
    metadata = (obj or {}).get("metadata") or {}
    subject = {"kind": kind, "namespace": namespace, "name": name}
    _subject.set(subject | {field: metadata[field] for field in ("uid", "generation") if field in metadata})


def subject_of(record: logging.LogRecord) -> dict[str, Any]:
    """The object that a line is about: kopf's own, or that of the current task."""
    reference = getattr(record, "k8s_ref", None)
    if reference:
        fields = ("kind", "namespace", "name", "uid")
        return {field: reference[field] for field in fields if reference.get(field)}
    return _subject.get() or {}


def masked(text: str) -> str:
    """The text without bearer tokens, and without passwords in addresses."""
    return SECRETS.sub(r"\1\2***", text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: timestamp, level, logger, message, and the object that it is about."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked(record.getMessage()),
            **subject_of(record),
        }
        if record.exc_info:
            line["exception"] = masked(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """For people: time, level, logger, the object in brackets, and the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(subject)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        subject = subject_of(record)
        where = "/".join(str(subject[field]) for field in ("namespace", "name") if subject.get(field))
        record.subject = f"[{subject['kind']} {where}] " if subject else ""
        return masked(super().format(record))


def configure_logs(log_format: LogFormat) -> None:
    """Log to stderr, everything in one format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
