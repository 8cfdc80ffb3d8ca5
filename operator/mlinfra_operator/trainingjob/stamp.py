"""Which spec a child Job was made of. Pure.

What may change while a training is suspended reaches its pods by a new Job. A suspension that is over before
the operator looks leaves the old one: by its stamp it is known.
"""

import hashlib
import json
import re

from pydantic.alias_generators import to_camel

from mlinfra.resources import TrainingJob
from mlinfra.resources.training_job import MUTABLE_WHILE_SUSPENDED

FIELDS = tuple(to_camel(field) for field in MUTABLE_WHILE_SUSPENDED)
FORMAT = "1"
"""Of all that the digest depends on; also a field whose default appears in its text makes another format."""
STAMP = re.compile(rf"v{FORMAT}-([0-9]+)-([0-9a-f]{{16}})")


def stamp_of(job: TrainingJob) -> str:
    """Format, generation, and a digest of what may change while suspended: ``v1-3-0123456789abcdef``."""
    return f"v{FORMAT}-{job.metadata.generation}-{_digest(job)}"


def is_outdated(job: TrainingJob, stamp: str | None) -> bool:
    """Whether a Job of this stamp was made of an older spec that gave its pods something else.

    A Job without a stamp of this format, as an operator before or after this one made it, counts as made
    of the same: a training that runs must not be lost to an upgrade, while one that was changed in a
    suspension nobody saw is right again after the next. What an operator knows of a TrainingJob may be
    older than the Job that another one made.
    """
    found = STAMP.fullmatch(stamp or "")
    if found is None or int(found[1]) >= job.metadata.generation:
        return False
    return found[2] != _digest(job)


def _digest(job: TrainingJob) -> str:
    spec = job.spec.to_wire()
    fields = {field: spec[field] for field in FIELDS if spec.get(field) not in (None, {}, [])}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
